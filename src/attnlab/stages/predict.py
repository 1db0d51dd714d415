"""`attnlab predict RUN`: answers with their scores and maps, a JSON object a line.

    attnlab predict zoo/dates "3 May 2004"               # a model that comes with the package
    attnlab predict RUN "3 May 2004"                     # texts, to the terminal
    attnlab predict zoo/digits picture.png               # files, where pictures or sounds are read
    attnlab predict RUN                                  # the test split
    attnlab predict RUN --input texts.txt --output -     # a text a line, to the terminal
    attnlab predict RUN --input new.csv --n-best 5       # by column: .csv .tsv .jsonl .parquet
    attnlab predict RUN --decoding beam size=10 length_penalty=0.6
    attnlab predict RUN --eviction h2o budget=128        # of its own units the decoder keeps some
    attnlab predict RUN --replies replies.txt            # texts that task=retrieve chooses from
    attnlab predict RUN RUN RUN --input texts.txt        # several runs as one
    attnlab predict RUN --split train --as-annotations   # to train another run on these answers
    attnlab predict RUN --input train.jsonl --as-rows    # the same rows with answers for texts

Of an answer in words, `alignment` says for each word where most of its weight lies (`i-j`: word i
of the attended input, word j of the answer, counted from 0).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import Progress

from attnlab.datasets.readers.files import archive_of
from attnlab.errors import UserError, suggest
from attnlab.stages import trusted_plugins
from attnlab.stages.evaluate import add_combine, add_members, leading_runs
from attnlab.stages.run import Run, open_run
from attnlab.stages.run_folders import ZOO

COMMAND = "answer, with scores and maps, as JSONL"

SETTING = re.compile(r"[a-z_]+=\S+")  # of decoding or eviction; other words are texts


def main(arguments: list[str]) -> None:
    """Answer the examples of a split, the rows of a file, or texts of the command line."""
    chosen = _parser().parse_intermixed_args(arguments)
    folders, chosen.words = leading_runs([chosen.run, *chosen.words])
    runs = [open_run(folder, chosen.trust) for folder in folders]
    for file in chosen.input or ():
        path = Path(file.partition("=")[2] or file)
        if file != "-" and not path.exists() and archive_of(path) is None:
            there = path.parent.iterdir() if path.parent.is_dir() else ()
            hint = suggest(path.name, [each.name for each in there]) or "no such folder"
            raise UserError(f"--input: no file {path}; {hint}")
    answer(runs, chosen)


def answer(runs: Sequence[Run], chosen: argparse.Namespace) -> None:
    """Write the answers of a run, or of several as one, to what the command line names."""
    from attnlab.stages.predictions import (
        as_annotation,
        as_json,
        as_rows,
        calibrate,
        decoding_as,
        offer_replies,
        predict,
    )
    from attnlab.stages.requests import read_requests, requests_of_values
    from attnlab.stages.trained_run import answering

    trained = answering(runs, chosen.combine, chosen.dropout, chosen.snapshots)
    settings = [word for word in chosen.words if SETTING.fullmatch(word)]
    texts = [word for word in chosen.words if word not in settings]
    task = decoding_as(trained, chosen.decoding, settings, chosen.n_best, chosen.eviction)
    if chosen.calibrated:
        if len(runs) > 1:
            raise UserError("--calibrated: a temperature is that of one run; try it without")
        calibrate(task, trained.folder)
    config, prepared = trained.config, trained.prepared
    if texts:
        requests = requests_of_values(texts, config, prepared)
    else:
        requests = read_requests(chosen.input, chosen.split, config, prepared)
    offer_replies(trained, chosen.replies)
    shown = texts or trained.folder.parent == ZOO
    output = chosen.output or ("-" if shown else str(trained.folder / "predictions.jsonl"))
    faults = 0
    with _opened(output) as file, _progress() as progress:
        bar = progress.add_task("predicting", total=None)
        for request, predictions in predict(
            trained, islice(requests, chosen.limit), chosen.n_best or 1, task
        ):
            faults += bool(request.problem)
            if chosen.as_rows:
                lines = [] if request.problem else as_rows(request, predictions, prepared.codec)
            elif chosen.as_annotations:
                lines = [as_annotation(request, predictions, prepared.codec)]
            else:
                lines = [as_json(request, predictions, prepared, chosen.maps)]
            for line in lines:
                print(json.dumps(line, ensure_ascii=False), file=file)
            progress.advance(bar)
    if faults:
        why = "they are left out" if chosen.as_rows else "their lines say why"
        print(f"{faults} rows could not be read; {why}", file=sys.stderr)
    if output != "-":
        print(output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attnlab predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="folder of the run, or folders of several")
    parser.add_argument("words", nargs="*", metavar="TEXT", help="texts, or size=10 of --decoding")
    parser.add_argument("--input", nargs="+", metavar="FILE", help="NAME=FILE for each of several")
    parser.add_argument("--split", choices=["train", "val", "test"], default="test")
    parser.add_argument("--output", metavar="FILE", help="- is the terminal")
    parser.add_argument("--n-best", type=int, metavar="N", help="answers for each input")
    parser.add_argument("--decoding", metavar="KIND", help="greedy, beam or sample")
    parser.add_argument("--eviction", metavar="KIND", help="none, window, h2o, snapkv, ...")
    parser.add_argument("--replies", metavar="FILE", help="a text a line; else those of training")
    parser.add_argument("--no-maps", dest="maps", action="store_false", help="answers alone")
    parser.add_argument(
        "--calibrated", action="store_true", help="probabilities with the temperature of evaluate"
    )
    parser.add_argument(
        "--as-annotations",
        action="store_true",
        help="ids and answers alone, as dataset.annotations reads them",
    )
    parser.add_argument(
        "--as-rows",
        action="store_true",
        help="the rows of --input as JSONL, with answers in the place of texts",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="the first inputs only")
    add_combine(parser)
    add_members(parser)
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
