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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.progress import Progress

from attnlab.config.compose import check, config_dir
from attnlab.config.dataset import Dataset
from attnlab.data.batch import Batch, collate
from attnlab.data.codec import Codec, Map
from attnlab.data.example import Example, named
from attnlab.data.groups import Groups
from attnlab.data.prepared import Prepared
from attnlab.data.vocabulary import Vocabulary
from attnlab.datasets.readers.files import BadRowError
from attnlab.errors import UserError, suggest
from attnlab.report.examples import gold_text
from attnlab.stages.learners import device, load_learner
from attnlab.stages.prepare import prepared_data
from attnlab.stages.requests import Question, asked, in_units, wording_of
from attnlab.stages.run import Run, open_run
from attnlab.tasks.generate.config import Decoding
from attnlab.tasks.task import Prediction
from attnlab.training.learner import Learner

COMMAND = "answer, with scores and maps, as JSONL"

TOGETHER = 20  # batches that are sorted by length together


@dataclass(frozen=True)
class Answered:
    """One answer to one request."""

    answer: str
    map: Map  # rows of the answer x attended units
    score: float | None = None
    words: list[str] = field(default_factory=list)  # what the rows belong to, in a text

    @classmethod
    def of(cls, prediction: Prediction, example: Example, codec: Codec) -> Answered:
        """The prediction with its map over whole words, without the padding."""
        weights = prediction.map.cpu().numpy()[:, : len(codec.groups(example))]
        rows = Groups.same(len(weights)) if prediction.rows is None else prediction.rows
        over_words = codec.over_words(example, weights, rows)
        return cls(prediction.text, over_words, prediction.score, list(prediction.words))

    def described(self, with_map: bool, keys: list[str]) -> dict[str, Any]:
        """As JSON has it."""
        content: dict[str, Any] = {"answer": self.answer}
        if self.score is not None:
            content["score"] = round(self.score, 6)
        if self.words and keys:
            attended = self.map[:, : len(keys)].argmax(1)
            content["alignment"] = " ".join(f"{i}-{j}" for j, i in enumerate(attended.tolist()))
        if with_map:
            content["map"] = [[round(w, 4) for w in row] for row in self.map.tolist()]
        return content


def main(arguments: list[str]) -> None:
    """Answer the questions of a split, or of a file."""
    chosen = _parser().parse_intermixed_args(arguments)
    run = _decoded_as(open_run(chosen.run), chosen.decoding, chosen.settings, chosen.n_best)
    prepared = prepared_data(run.config)
    questions = asked(chosen.input, chosen.split, run.config, prepared)
    learner = load_learner(run, prepared).to(device(run.config))
    _offer_replies(learner, chosen.replies, run.config.dataset, prepared)
    output = chosen.output or str(run.folder / "predictions.jsonl")
    faults = 0
    with _opened(output) as file, _progress() as progress:
        task = progress.add_task("predicting", total=None)
        for question, predictions in _answered(
            islice(questions, chosen.limit), learner, prepared, run, chosen.n_best or 1
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
) -> Iterator[tuple[Question, list[Answered]]]:
    """Questions in their order with their answers; some at a time, those of a length together."""
    codec, size = prepared.codec, run.config.trainer.batches.eval_size
    while chunk := list(islice(questions, TOGETHER * size)):
        items = [(q.example and codec.question(q.example, i)) for i, q in enumerate(chunk)]
        order = sorted((i for i in items if i is not None), key=lambda item: item.keys)
        found: dict[int, list[Answered]] = {}
        for start in range(0, len(order), size):
            batch = collate(order[start : start + size]).to(learner.device)
            examples = [chunk[i].example for i in batch.index.tolist()]
            predictions = _predicted(learner, batch, examples, codec, n_best)  # type: ignore[arg-type]
            found |= zip(batch.index.tolist(), predictions, strict=True)
        yield from ((question, found.get(i, [])) for i, question in enumerate(chunk))


def _predicted(
    learner: Learner, batch: Batch, examples: Sequence[Example], codec: Codec, most: int
) -> list[list[Answered]]:
    """For each example its answers, the best first, with maps over whole words."""
    found = learner.task.predict(learner.model, batch, most)
    return [
        [Answered.of(each, example, codec) for each in predictions]
        for predictions, example in zip(found, examples, strict=True)
    ]


def _offer_replies(
    learner: Learner, file: str | None, dataset: Dataset, prepared: Prepared
) -> None:
    """Let the task choose among the lines of a file, or among all answers of training."""
    task = learner.task
    if file and task.chooses_among_texts:
        vocabulary = prepared.codec.answers.vocabulary
        assert vocabulary is not None
        task.choose_among(learner.model, _reply_lines(Path(file), dataset, vocabulary))
    elif file:
        raise UserError("--replies: this run does not choose among texts; try it without")
    elif task.chooses_among_texts:
        task.choose_among(learner.model, _training_answers(prepared))


def _training_answers(prepared: Prepared) -> Iterator[Iterable[str]]:
    """The answers of the training examples."""
    return (example.answer for example in prepared.examples("train"))  # type: ignore[misc]


def _reply_lines(file: Path, dataset: Dataset, vocabulary: Vocabulary) -> Iterator[list[str]]:
    """The lines of a file as the words of answers."""
    if not file.is_file():
        raise UserError(f"--replies: no file {file}")
    wording = wording_of(dataset)
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            yield in_units(line, wording, vocabulary, "line")
        except BadRowError as error:
            raise UserError(f"--replies: {file}:{number}: {error}") from None


def _line(
    question: Question, predictions: Iterable[Answered], prepared: Prepared, with_map: bool
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
