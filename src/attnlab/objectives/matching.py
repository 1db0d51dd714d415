"""Which answer belongs to which gold, where answers have no order of their own."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

NEVER = 1e6  # in place of a cost that is no number: an assignment of such is refused


def partners(costs: Tensor, there: Tensor) -> Tensor:
    """Pairs of an answer and a gold of least cost in total (Kuhn 1955), as an order of answers.

    Costs are batch x answers x gold; `there` (batch x gold, not more than answers) says which gold
    is real, and real gold comes first. The n-th answer of the order belongs to the n-th gold; those
    that belong to none come last: batch x answers.
    """
    tables = torch.nan_to_num(costs.detach().double(), NEVER, NEVER, -NEVER).cpu().numpy()
    orders = []
    for table, count in zip(tables, there.sum(1).tolist(), strict=True):
        answers, gold = linear_sum_assignment(table[:, :count])
        chosen = answers[np.argsort(gold)]
        others = np.setdiff1d(np.arange(len(table)), chosen)
        orders.append(np.concatenate([chosen, others]))
    return torch.from_numpy(np.stack(orders)).to(costs.device)
