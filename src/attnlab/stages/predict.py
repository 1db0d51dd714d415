"""`attnlab predict RUN`: answers with their scores and maps, a JSON object a line.

    attnlab predict RUN                                  # the test split
    attnlab predict RUN --input texts.txt --output -     # a text a line, to the terminal
    attnlab predict RUN --input new.csv --n-best 5       # by column: .csv .tsv .jsonl .parquet
    attnlab predict RUN --decoding beam size=10 length_penalty=0.6
    attnlab predict RUN --replies replies.txt            # texts that task=retrieve chooses from

Of an answer in words, `alignment` says for each word where most of its weight lies (`i-j`: word i
of what was looked at, word j of the answer, counted from 0).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

import torch
from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from attnlab.attention.probes import Tap
from attnlab.config.compose import check, config_dir
from attnlab.config.decoding import Decoding
from attnlab.data.batch import Batch, Padded, collate
from attnlab.data.codec import Map
from attnlab.data.example import Example, named
from attnlab.data.groups import Groups
from attnlab.data.prepared import Prepared
from attnlab.data.vocabulary import EOS
from attnlab.errors import UserError, suggest
from attnlab.models.generator import Generator
from attnlab.models.heads import Classifier
from attnlab.report.examples import gold_text
from attnlab.stages.learners import device, load_learner
from attnlab.stages.prepare import prepared_data
from attnlab.stages.replies import Replies, replies_of
from attnlab.stages.requests import Question, asked
from attnlab.stages.run import Run, open_run
from attnlab.training.learner import Learner

COMMAND = "answer, with scores and maps, as JSONL"

TOGETHER = 20  # batches that are sorted by length together


@dataclass(frozen=True)
class Prediction:
    """One answer to one question."""

    answer: str
    map: Map  # rows of the answer x what is looked at
    score: float | None = None
    words: list[str] = field(default_factory=list)  # what the rows belong to, if the answer is text

    def described(self, with_map: bool, keys: list[str]) -> dict[str, Any]:
        """As JSON has it."""
        said: dict[str, Any] = {"answer": self.answer}
        if self.score is not None:
            said["score"] = round(self.score, 6)
        if self.words and keys:
            looked = self.map[:, : len(keys)].argmax(1)
            said["alignment"] = " ".join(f"{i}-{j}" for j, i in enumerate(looked.tolist()))
        if with_map:
            said["map"] = [[round(w, 4) for w in row] for row in self.map.tolist()]
        return said


def main(arguments: list[str]) -> None:
    """Answer the questions of a split, or of a file."""
    chosen = _parser().parse_intermixed_args(arguments)
    run = _decoded_as(open_run(chosen.run), chosen.decoding, chosen.settings, chosen.n_best)
    prepared = prepared_data(run.config)
    questions = asked(chosen.input, chosen.split, run.config, prepared)
    learner = load_learner(run, prepared).to(device(run.config))
    replies = replies_of(chosen.replies, learner.model, run.config.dataset, prepared)
    output = chosen.output or str(run.folder / "predictions.jsonl")
    faults = 0
    with _opened(output) as file, _progress() as progress:
        task = progress.add_task("predicting", total=None)
        for question, predictions in _answered(
            islice(questions, chosen.limit), learner, prepared, run, chosen.n_best or 1, replies
        ):
            faults += bool(question.problem)
            line = _line(question, predictions, prepared, chosen.maps)
            print(json.dumps(line, ensure_ascii=False), file=file)
            progress.advance(task)
    if faults:
        print(f"{faults} rows could not be read; their lines say why", file=sys.stderr)
    if output != "-":
        print(output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attnlab predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="folder of the run")
    parser.add_argument("settings", nargs="*", help="settings of --decoding: size=10")
    parser.add_argument("--input", nargs="+", metavar="FILE", help="NAME=FILE for each of several")
    parser.add_argument("--split", choices=["train", "val", "test"], default="test")
    parser.add_argument("--output", metavar="FILE", help="- is the terminal")
    parser.add_argument("--n-best", type=int, metavar="N", help="answers for each question")
    parser.add_argument("--decoding", metavar="KIND", help="greedy, beam or sample")
    parser.add_argument("--replies", metavar="FILE", help="a text a line; else those of training")
    parser.add_argument("--no-maps", dest="maps", action="store_false", help="answers alone")
    parser.add_argument("--limit", type=int, metavar="N", help="the first questions only")
    return parser


def _decoded_as(run: Run, kind: str | None, settings: Sequence[str], answers: int | None) -> Run:
    """The run with another way of decoding, checked as any config is."""
    plain = json.loads(json.dumps(run.plain))
    decoding = plain["task"].get("decoding")
    if decoding is None:
        if kind or settings:
            problem = f"task '{run.config.task.kind}' decodes nothing"
            raise UserError(f"--decoding: {problem}; try it without")
        return run
    if answers and answers > 1 and kind is None and decoding["kind"] == "greedy":
        kind = "beam"
    if kind:
        decoding = _defaults(kind)
    if answers and "answers" in decoding:
        decoding = decoding | {"answers": answers}
        if "size" in decoding:
            decoding["size"] = max(decoding["size"], answers)
    changed = OmegaConf.merge(decoding, OmegaConf.from_dotlist(list(settings)))
    plain["task"]["decoding"] = OmegaConf.to_container(changed)
    config, plain = check(OmegaConf.create(plain))  # type: ignore[arg-type]
    return replace(run, config=config, plain=plain)


def _defaults(kind: str) -> dict[str, Any]:
    path = config_dir() / "task" / "decoding" / f"{kind}.yaml"
    if not path.is_file():
        raise UserError(f"--decoding: no '{kind}'; {suggest(kind, Decoding.kinds())}")
    return OmegaConf.to_container(OmegaConf.load(path))  # type: ignore[return-value]


@contextmanager
def _opened(output: str) -> Iterator[IO[str]]:
    if output == "-":
        yield sys.stdout
        return
    try:
        with Path(output).open("w", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise UserError(f"--output: cannot write {output} ({error.strerror})") from None


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


def _answered(
    questions: Iterator[Question],
    learner: Learner,
    prepared: Prepared,
    run: Run,
    n_best: int,
    replies: Replies | None,
) -> Iterator[tuple[Question, list[Prediction]]]:
    """Questions in their order with their answers; some at a time, those of a length together."""
    codec, size = prepared.codec, run.config.trainer.batches.eval_size
    while chunk := list(islice(questions, TOGETHER * size)):
        items = [(q.example and codec.question(q.example, i)) for i, q in enumerate(chunk)]
        order = sorted((i for i in items if i is not None), key=lambda item: item.keys)
        found: dict[int, list[Prediction]] = {}
        for start in range(0, len(order), size):
            batch = collate(order[start : start + size]).to(learner.device)
            examples = [chunk[i].example for i in batch.index.tolist()]
            predictions = predict(learner, batch, examples, prepared, n_best, replies)  # type: ignore[arg-type]
            found |= zip(batch.index.tolist(), predictions, strict=True)
        yield from ((question, found.get(i, [])) for i, question in enumerate(chunk))


@torch.no_grad()
def predict(
    learner: Learner,
    batch: Batch,
    examples: list[Example],
    prepared: Prepared,
    n_best: int,
    replies: Replies | None = None,
) -> list[list[Prediction]]:
    """For each example its answers, the best first."""
    model = learner.model
    if isinstance(model, Generator):
        return _written(model, batch, examples, prepared)
    with Tap(model, learner.task.map) as tap:
        if replies is not None:
            found = _chosen(replies.scores(batch), n_best, replies.texts.__getitem__)
        elif isinstance(model, Classifier):
            found = _chosen(model.choices(batch), n_best, lambda p: prepared.codec.text([p]))
        else:
            texts = learner.task.texts(model.answer(batch), batch)  # type: ignore[operator]
            found = [[(text, None)] for text in texts]
    maps = tap.weights().mean(1).float().cpu().numpy()
    shown = [_shown(prepared, e, m) for e, m in zip(examples, maps, strict=True)]
    return [
        [Prediction(text, m, chance) for text, chance in answers]
        for answers, m in zip(found, shown, strict=True)
    ]


def _chosen(
    scores: Tensor, most: int, name: Callable[[int], str]
) -> list[list[tuple[str, float | None]]]:
    """For each row of scores the best choices with their chances; those that may not be, never."""
    chances = scores.float().softmax(-1)
    best, places = chances.topk(min(most, chances.shape[1]))
    allowed = scores.isfinite().sum(1).clamp_max(most).tolist()
    rows = zip(places.tolist(), best.tolist(), allowed, strict=True)
    return [
        [(name(p), chance) for p, chance in zip(where[:n], some[:n], strict=True)]
        for where, some, n in rows
    ]


def _shown(prepared: Prepared, example: Example, weights: Map, rows: Groups | None = None) -> Map:
    """Without the padding, over words; `rows` are from the units of the answer to its words."""
    rows = Groups.same(len(weights)) if rows is None else rows
    real = weights[:, : len(prepared.codec.groups(example))]
    return prepared.codec.over_words(example, real, rows)


def _written(
    model: Generator, batch: Batch, examples: list[Example], prepared: Prepared
) -> list[list[Prediction]]:
    """Texts, each with the map of a pass that reads it as if it were gold."""
    decoded = model.decode(batch)
    vocabulary = prepared.codec.answers.vocabulary  # type: ignore[attr-defined]
    found: list[list[Prediction]] = [[] for _ in examples]
    for place in range(decoded.units.shape[1]):
        units = decoded.units[:, place]
        ended = (units == EOS).cumsum(1) - (units == EOS).long()
        given = replace(batch, answer=Padded(units, ended == 0))
        with Tap(model, model.map) as tap:
            model(given)
        maps = tap.weights().mean(1).float().cpu().numpy()
        for i, example in enumerate(examples):
            words, rows = vocabulary.read(units[i].tolist())
            map_ = _shown(prepared, example, maps[i], rows)
            score = float(decoded.scores[i, place])
            if score > float("-inf"):
                found[i].append(Prediction(vocabulary.joint.join(words), map_, score, words))
    return found


def _line(
    question: Question, predictions: Iterable[Prediction], prepared: Prepared, with_map: bool
) -> dict[str, Any]:
    """What is written of one question."""
    line: dict[str, Any] = {"id": question.id}
    if question.example is None:
        return line | {"problem": question.problem}
    example, codec = question.example, prepared.codec
    seen = {name: value for name, value in example.inputs.items() if isinstance(value, list)}
    keys = named(seen.get(example.attended, []))
    line |= {"inputs": seen, "attended": example.attended}
    if question.answered:
        line["gold"] = gold_text(example, codec)
    return line | {"predictions": [p.described(with_map, keys) for p in predictions]}
