"""Processes that share texts have the loss and the gradients of one that reads them whole."""

from __future__ import annotations

import multiprocessing
import socket
from typing import Any

import pytest
import torch
import torch.distributed as dist

from attnlab.attention.parts_of_texts import TextPart
from attnlab.data.example import Example
from tests.models.building import built, small_config

MODELS = {
    "rotated": ["attention=rope"],
    "window": ["attention=window", "attention.structure.left=9", "attention.structure.right=0"],
    "bias and groups": ["attention=alibi", "attention/heads=grouped_query"],
    "computed once more": ["attention=multihead", "model.checkpoint_activations=true"],
}
COMMON = ["dataset=induction", "task=language_model", "model=transformer"]
LENGTHS = [37, 30, 6]  # of two parts the second one has nothing of the last text


def slopes(name: str, part: TextPart | None) -> tuple[float, dict[str, Any]]:
    """The loss and its gradients, as a training sums them over processes."""
    words = ["model.feedforward_dim=16", "task.label_smoothing=0.1", "task.scores_at_once=50"]
    config = small_config(*COMMON, *MODELS[name], *words)
    letters = torch.randint(5, (sum(LENGTHS),), generator=torch.Generator().manual_seed(0))
    texts = [["abcde"[i] for i in text.tolist()] for text in letters.split(LENGTHS)]
    examples = [Example(str(i), {"text": text}, None) for i, text in enumerate(texts)]
    model, batch, codec = built(config, examples)
    task = config.task.build(codec)
    batch = batch if part is None else batch.read_in_part(part)
    model = model.double().train()
    sums, counts = task.losses(task.run(model, batch), batch)
    total, count = sums.sum(), counts.sum().double()
    total.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    if part is not None:
        for each in (total.detach(), count, *gradients.values()):
            dist.all_reduce(each)
    return float(total.detach() / count), {n: (g / count).numpy() for n, g in gradients.items()}


def in_a_process(rank: int, port: int, names: list[str]) -> list[Any]:
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    part = TextPart(rank, 2, dist.new_group())
    found = [slopes(name, part) for name in names]
    dist.destroy_process_group()
    return found


def test_two_processes_have_the_loss_and_the_gradients_of_one() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = list(MODELS)
    whole = [slopes(name, None) for name in names]  # composed here, so that forks have the configs
    with multiprocessing.get_context("fork").Pool(2) as pool:
        both = pool.starmap(in_a_process, [(rank, port, names) for rank in range(2)], chunksize=1)
    for name, (loss, gradients), *shared in zip(names, whole, *both, strict=True):
        for shared_loss, shared_gradients in shared:
            assert shared_loss == pytest.approx(loss, rel=1e-6), name
            assert shared_gradients.keys() == gradients.keys(), name
            for parameter, slope in gradients.items():
                found = shared_gradients[parameter]
                assert found == pytest.approx(slope, rel=1e-5, abs=1e-7), (name, parameter)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_parts_are_all_of_a_text_and_padding(world: int) -> None:
    text = torch.arange(10)[None]
    parts = [TextPart(rank, world).of(text, -1) for rank in range(world)]
    assert len({part.shape for part in parts}) == 1
    together = torch.cat(parts, 1)
    assert torch.equal(together[:, :10], text) and (together[:, 10:] == -1).all()
