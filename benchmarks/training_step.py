"""A training step and beam search beside JoeyNMT's, and the matrix products of a step.

    pip install --no-deps joeynmt sentencepiece subword-nmt sacremoses 'importlib_metadata<8' zipp
    python -m benchmarks.training_step --data ../shared/data    # multi30k_ende/tok of it

Both toolkits get the same batches, sizes, dropout, label smoothing and clipping; batch by batch
they take turns in one process, so that a machine that changes its speed hits both. JoeyNMT
(Kreutzer et al. 2019) is installed without its dependencies, which ask for another torch.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from attnlab.compat import keep_freed_memory
from attnlab.config import compose
from attnlab.data.batch import Batch
from attnlab.data.vocabulary import BOS, EOS, PAD, UNKNOWN
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import Run
from attnlab.training.learner import Learner
from benchmarks.overhead import NoTrainer, fresh
from benchmarks.results import now, record
from benchmarks.runs import verdict

PRODUCTS = {torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.bmm, torch.ops.aten.baddbmm}
LONGEST = 40  # units that both decode at most
WARMUP = 4  # steps that are not counted


def joey_config(model: Any, dropout: float, recurrent: bool) -> dict[str, Any]:
    """JoeyNMT's settings of the same model."""
    if recurrent:
        part = {
            "type": "recurrent", "rnn_type": "gru", "hidden_size": model.dim, "num_layers": 1,
            "dropout": dropout, "embeddings": {"embedding_dim": model.embedding_dim},
        }  # fmt: skip
        # ours: a bidirectional encoder whose states are as wide as the decoder's together
        encoder = part | {"bidirectional": True, "hidden_size": model.dim // 2}
        decoder = part | {"attention": "bahdanau", "input_feeding": True, "init_hidden": "bridge"}
        return {"tied_embeddings": False, "encoder": encoder, "decoder": decoder}
    part = {
        "type": "transformer", "num_heads": 4, "hidden_size": model.dim, "dropout": dropout,
        "ff_size": model.feedforward_dim, "layer_norm": "pre",
        "embeddings": {"embedding_dim": model.dim, "scale": True},
    }  # fmt: skip
    return {
        "tied_embeddings": True,
        "tied_softmax": True,
        "encoder": part | {"num_layers": model.encoder_layers},
        "decoder": part | {"num_layers": model.decoder_layers},
    }


def joey_model(config: Any, units: int) -> nn.Module:
    """The peer, with as many units in its vocabulary."""
    from joeynmt.model import build_model  # type: ignore[import-not-found]
    from joeynmt.vocabulary import Vocabulary  # type: ignore[import-not-found]

    # Its constructor wants special units in another order than ours.
    vocabulary = Vocabulary.__new__(Vocabulary)
    names = ["<pad>", "<s>", "</s>", "<unk>", *(f"unit {i}" for i in range(4, units))]
    vocabulary._itos, vocabulary._stoi = names, {name: i for i, name in enumerate(names)}
    vocabulary.specials, vocabulary.lang_tags, vocabulary.sep_index = names[:4], [], None
    vocabulary.pad_index, vocabulary.bos_index = PAD, BOS
    vocabulary.eos_index, vocabulary.unk_index = EOS, UNKNOWN
    recurrent = config.model.kind == "recurrent"
    settings = joey_config(config.model, config.model.dropout, recurrent)
    model = build_model(settings, vocabulary, vocabulary)
    model.loss_function = ("crossentropy", config.task.label_smoothing)
    return model.train()


def joey_batch(batch: Batch) -> Any:
    """Our batch as JoeyNMT's; its recurrent encoder wants the longest first."""
    from joeynmt.batch import Batch as JoeyBatch  # type: ignore[import-not-found]

    text, answer = batch.inputs["text"], batch.answer
    order = text.mask.sum(1).argsort(descending=True)
    begin = torch.full((len(order), 1), BOS)
    source = text.values.masked_fill(~text.mask, PAD)[order]
    target = torch.cat([begin, answer.values.masked_fill(~answer.mask, PAD)[order]], 1)
    lengths = text.mask.sum(1)[order]
    device = torch.device("cpu")
    return JoeyBatch(source, lengths, None, target, None, order, device, PAD, EOS)


def our_step(learner: Learner) -> Callable[[Batch], None]:
    """Forward, backward and update of ours."""
    learner.trainer = NoTrainer()  # type: ignore[assignment]
    chosen = cast("dict[str, Any]", learner.configure_optimizers())
    return lambda batch: update(learner.losses(batch)[0], learner, chosen["optimizer"])


def joey_step(model: nn.Module) -> Callable[[Any], None]:
    """The same of JoeyNMT's."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(batch: Any) -> None:
        loss, *_ = model(return_type="loss", **vars(batch))
        update(loss / batch.ntokens, model, optimizer)

    return step


def update(loss: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


class MatrixProducts(TorchDispatchMode):
    """Records the matrix products that are computed inside, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[torch.Size, torch.Size]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func.overloadpacket in PRODUCTS:
            factors = [each for each in args if isinstance(each, Tensor)][-2:]
            self.seen.append((factors[0].shape, factors[1].shape))
        return func(*args, **(kwargs or {}))

    def seconds(self) -> float:
        """Of the same products, one after the other, and nothing else."""
        pairs = [(torch.randn(one), torch.randn(other)) for one, other in self.seen]
        rounds = []
        for _ in range(3):
            started = time.perf_counter()
            for one, other in pairs:
                torch.mm(one, other) if one.dim() == 2 else torch.bmm(one, other)
            rounds.append(time.perf_counter() - started)
        return min(rounds)


def timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def decoded(learner: Learner, peer: nn.Module, batch: Batch) -> tuple[float, float]:
    """Milliseconds for each position that a beam of 5 writes: ours and theirs, untrained."""
    from joeynmt.search import search  # type: ignore[import-not-found]

    theirs, task = joey_batch(batch), cast("Any", learner.task)
    task.use_decoding()
    learner.eval()
    peer.eval()
    with torch.no_grad():
        started = time.perf_counter()
        units = task.answer(learner.model, batch)
        ours = (time.perf_counter() - started) / units.shape[-1]
        started = time.perf_counter()
        units, *_ = search(peer, theirs, LONGEST, 5, 1.0, generate_unk=True)
        joey = (time.perf_counter() - started) / units.shape[-1]
    learner.train()
    peer.train()
    return 1000 * ours, 1000 * joey


def measured(name: str, data: str, threads: int, steps: int) -> Iterator[tuple[str, ...]]:
    """Rows of the table of one model."""
    recurrent = name == "multi30k_recurrent"
    words = [
        f"experiment={name}", f"paths.data={data}", f"trainer.threads={threads}",
        "trainer.accelerator=cpu", "trainer.batches.units=4096", f"task.max_length={LONGEST}",
        "trainer.batches.eval_size=100", "model.tie=none" if recurrent else "model.tie=all",
    ]  # fmt: skip
    config, plain = compose.load(words)
    prepared = prepared_data(config)
    with tempfile.TemporaryDirectory() as folder:
        learner, loader = fresh(Run(Path(folder), config, plain), prepared)
    peer = joey_model(config, len(prepared.codec.answers.vocabulary))  # type: ignore[attr-defined]
    batches = list(islice(loader.train_dataloader(), steps + WARMUP))
    ours, theirs = our_step(learner), joey_step(peer)
    pairs, shares, tokens = [], [], []
    for number, batch in enumerate(batches):
        other = joey_batch(batch)
        pair = timed(lambda: ours(batch)), timed(lambda: theirs(other))  # noqa: B023
        if number >= WARMUP:
            pairs.append(pair)
            tokens.append(int(batch.answer.mask.sum()))
            print(
                name, "{:.0f} ms, JoeyNMT {:.0f} ms".format(*(1000 * p for p in pair)), flush=True
            )
    one, joey = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = statistics.median(theirs / ours for ours, theirs in pairs)
    speed = sum(tokens) / sum(ours for ours, _ in pairs)
    yield "ms a step", f"{1000 * one:.0f}", f"{1000 * joey:.0f}", f"{ratio:.2f}", verdict(3, ratio)
    yield (
        "target units a second",
        f"{speed:,.0f}",
        f"{sum(tokens) / sum(t for _, t in pairs):,.0f}",
        "",
        "",
    )
    count = [sum(p.numel() for p in m.parameters()) for m in (learner.model, peer)]
    yield "parameters", f"{count[0]:,}", f"{count[1]:,}", "", ""
    if name == "multi30k":
        for batch in batches[WARMUP : WARMUP + 5]:
            with MatrixProducts() as products:
                learner.losses(batch)[0].backward()
            shares.append(products.seconds() / timed(lambda: ours(batch)))  # noqa: B023
        share = statistics.median(shares)
        yield "share of its matrix products", f"{share:.2f}", "", "", verdict(0.6, share)
        rounds = [decoded(learner, peer, batch) for batch in islice(loader.val_dataloader(), 3)]
        mine, other = (statistics.median(each) for each in zip(*rounds, strict=True))
        beam = statistics.median(b / a for a, b in rounds)
        yield (
            "ms a position, beam of 5, 100 texts",
            f"{mine:.0f}",
            f"{other:.0f}",
            f"{beam:.2f}",
            verdict(4, beam),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", default="../shared/data", help="holds multi30k_ende/tok")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=24)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    table = [
        "| model | | attnlab | JoeyNMT | JoeyNMT / attnlab | target |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in (("multi30k", "Transformer"), ("multi30k_recurrent", "recurrent, additive")):
        for row in measured(name, options.data, options.threads, options.steps):
            table.append(f"| {' | '.join((title, *row))} |")
    command = f"python -m benchmarks.training_step --threads {options.threads}"
    note = (
        "Captions in batches of 4,096 target units, 10,000 units in the vocabulary; forward, "
        "backward, clipping and update, batch by batch in turn. Matrix products: those of one "
        "step, forward and backward, computed alone with the same shapes, over the time of the "
        "step. Both models are untrained where they decode."
    )
    record("training_step", "A training step beside JoeyNMT", command, table, now(), note)


if __name__ == "__main__":
    main()
