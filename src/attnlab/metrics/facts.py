"""What is known about each figure: its meaning, its direction and the values of known maps."""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import asdict, dataclass

import attnlab.metrics


@dataclass(frozen=True)
class Figure:
    """One figure of a metric, as tables, reports and the glossary explain it."""

    name: str  # `k` in it stands for a number: hr@k
    help: str  # one sentence: what it is
    higher_is_better: bool | None = True  # None: it describes, and neither way is better
    uniform: str = ""  # what a uniform map, or an answer that knows nothing, scores
    perfect: str = "1"
    note: str = ""  # stands behind the name in tables: how it differs from what people expect

    def sentence(self) -> str:
        """The help, what uninformed and perfect maps score, and which way is better."""
        known = [f"uniform: {self.uniform}"] if self.uniform else []
        known += [f"perfect: {self.perfect}"] if self.perfect else []
        direction = {True: "higher is better", False: "lower is better", None: "no better way"}
        return f"{self.help} ({'; '.join([*known, direction[self.higher_is_better]])})"

    def plain(self) -> dict[str, object]:
        """As JSON holds it; the name is its key there."""
        return {key: value for key, value in asdict(self).items() if key != "name"}


KNOWN: dict[str, Figure] = {}  # every figure of the metrics that are imported


def declare(*figures: Figure) -> None:
    """Make figures known by name; metric classes do so with their `about`."""
    KNOWN.update({figure.name: figure for figure in figures})


def facts(name: str) -> Figure | None:
    """What is known about a figure, such as `aer`, `hr@10` or `attention/aer`; None if nothing."""
    name = re.sub(r"@\d+$", "@k", name.rpartition("/")[-1])
    if name not in KNOWN:
        import_metrics()
    return KNOWN.get(name)


def import_metrics() -> None:
    """Import every module of metrics, so that all built-in figures are known."""
    for module in pkgutil.iter_modules(attnlab.metrics.__path__, "attnlab.metrics."):
        importlib.import_module(module.name)


def table() -> str:
    """Every known figure in Markdown, as `docs/metrics.md` has it."""
    import_metrics()
    better = {True: "higher", False: "lower", None: ""}
    rows = ["| figure | what it is | uniform | perfect | better |", "|---|---|---|---|---|"]
    for name, figure in sorted(KNOWN.items()):
        if name.endswith("_undefined"):
            continue
        title = f"`{name}` ({figure.note})" if figure.note else f"`{name}`"
        cells = title, figure.help, figure.uniform, figure.perfect, better[figure.higher_is_better]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


declare(
    Figure("loss", "The task's loss, a mean over units", False, perfect=""),
    Figure("train_seconds", "Seconds of training", False, perfect=""),
    Figure(
        "peak_memory_mib", "The most memory at one moment of training, in MiB", False, perfect=""
    ),
    Figure("parameters", "Weights of the model that are stored", False, perfect=""),
)
