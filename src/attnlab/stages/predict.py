"""`attnlab predict RUN`: answers with their scores and maps, a JSON object a line.

    attnlab predict RUN "3 May 2004"                     # texts, to the terminal
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
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import Progress

from attnlab.config.dataset import Dataset
from attnlab.data.prepared import Prepared
from attnlab.data.vocabulary import Vocabulary
from attnlab.datasets.readers.files import BadRowError
from attnlab.errors import UserError
from attnlab.report.examples import gold_text
from attnlab.stages import trusted_plugins
from attnlab.stages.predictions import (
    PredictedAnswer,
    decoding_as,
    offer_training_answers,
    predict,
)
from attnlab.stages.requests import Request, in_units, read_requests, requests_of_values, wording_of
from attnlab.stages.run import open_run
from attnlab.stages.trained_run import TrainedRun

COMMAND = "answer, with scores and maps, as JSONL"

SETTING = re.compile(r"[a-z_]+=\S+")  # of the decoding; other words are texts


def main(arguments: list[str]) -> None:
    """Answer the examples of a split, the rows of a file, or texts of the command line."""
    chosen = _parser().parse_intermixed_args(arguments)
    trained = TrainedRun(open_run(chosen.run, chosen.trust))
    settings = [word for word in chosen.words if SETTING.fullmatch(word)]
    texts = [word for word in chosen.words if word not in settings]
    task = decoding_as(trained, chosen.decoding, settings, chosen.n_best)
    config, prepared = trained.config, trained.prepared
    if texts:
        requests = requests_of_values(texts, config, prepared)
    else:
        requests = read_requests(chosen.input, chosen.split, config, prepared)
    _offer_replies(trained, chosen.replies)
    output = chosen.output or ("-" if texts else str(trained.folder / "predictions.jsonl"))
    faults = 0
    with _opened(output) as file, _progress() as progress:
        bar = progress.add_task("predicting", total=None)
        for request, predictions in predict(
            trained, islice(requests, chosen.limit), chosen.n_best or 1, task
        ):
            faults += bool(request.problem)
            line = _line(request, predictions, prepared, chosen.maps)
            print(json.dumps(line, ensure_ascii=False), file=file)
            progress.advance(bar)
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
    parser.add_argument("words", nargs="*", metavar="TEXT", help="texts, or size=10 of --decoding")
    parser.add_argument("--input", nargs="+", metavar="FILE", help="NAME=FILE for each of several")
    parser.add_argument("--split", choices=["train", "val", "test"], default="test")
    parser.add_argument("--output", metavar="FILE", help="- is the terminal")
    parser.add_argument("--n-best", type=int, metavar="N", help="answers for each input")
    parser.add_argument("--decoding", metavar="KIND", help="greedy, beam or sample")
    parser.add_argument("--replies", metavar="FILE", help="a text a line; else those of training")
    parser.add_argument("--no-maps", dest="maps", action="store_false", help="answers alone")
    parser.add_argument("--limit", type=int, metavar="N", help="the first inputs only")
    trusted_plugins.add_option(parser)
    return parser


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


def _offer_replies(trained: TrainedRun, file: str | None) -> None:
    """Let the task choose among the lines of a file, or among all answers of training."""
    if file is None:
        offer_training_answers(trained)
    elif not trained.task.chooses_among_texts:
        raise UserError("--replies: this run does not choose among texts; try it without")
    else:
        vocabulary = trained.prepared.codec.answers.vocabulary
        assert vocabulary is not None
        lines = _reply_lines(Path(file), trained.config.dataset, vocabulary)
        trained.task.choose_among(trained.model, lines)


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
    request: Request, answers: Iterable[PredictedAnswer], prepared: Prepared, with_map: bool
) -> dict[str, Any]:
    """What is written of one request."""
    line: dict[str, Any] = {"id": request.id}
    if request.example is None:
        return line | {"problem": request.problem}
    example, codec = request.example, prepared.codec
    texts = {name: value for name, value in example.inputs.items() if isinstance(value, list)}
    line |= {"inputs": texts, "attended": example.attended}
    if request.answered:
        line["gold"] = gold_text(example, codec)
    aligned = example.attended in texts
    return line | {"predictions": [_described(each, aligned, with_map) for each in answers]}


def _described(answer: PredictedAnswer, aligned: bool, with_map: bool) -> dict[str, Any]:
    """What is written of one answer; `aligned` says that a text is attended to."""
    content: dict[str, Any] = {"answer": answer.text}
    if answer.score is not None:
        content["score"] = round(answer.score, 6)
    if answer.words and aligned:
        attended = answer.map.argmax(1).tolist()
        content["alignment"] = " ".join(f"{i}-{j}" for j, i in enumerate(attended))
    if with_map:
        content["map"] = [[round(w, 4) for w in row] for row in answer.map.tolist()]
    return content
