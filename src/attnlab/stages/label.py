"""`attnlab label RUN`: the examples whose answer or map would teach most, as a file to be filled.

Each line has an example, what the model answers, and `answer` and `map` to be filled in: `map` is a
list of rows, each a list of the numbers of the keys that are marked. `--page` opens a page of this
machine to do that with keyboard or mouse. Training reads the file: `dataset.annotations=FILE`.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from attnlab.errors import UserError, suggest
from attnlab.stages import trusted_plugins
from attnlab.stages.evaluate import add_combine, leading_runs
from attnlab.stages.run import open_run
from attnlab.text_files import write_whole

if TYPE_CHECKING:
    from attnlab.data.example import Example
    from attnlab.stages.trained_run import TrainedRun

COMMAND = "choose examples that are worth a label or a gold map"
EXAMPLES = """examples:
  attnlab label RUN --count 50                        of training, whose maps disagree most
  attnlab label RUN --minutes 30                      what half an hour allows
  attnlab label RUN --by bald --input new.txt         texts without an answer
  attnlab label RUN RUN RUN --by maps                 disagreement of several runs
  attnlab label RUN --page                            mark them in a browser, now or later
  python train.py experiment=reviews dataset.supervision=0.01 dataset.annotations=FILE
"""
FILE = "to_label.jsonl"


def main(arguments: list[str]) -> None:
    """Choose, and write the file."""
    parser = argparse.ArgumentParser(
        prog="attnlab label",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run")
    parser.add_argument("--by", default="maps", metavar="WAY", help="maps (default), entropy, ...")
    parser.add_argument("--count", type=int, default=50, metavar="N", help="examples to choose")
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="in place of --count: as many as these allow"
    )
    parser.add_argument(
        "--label-seconds", type=float, default=10.0, metavar="S", help="that an answer takes (10)"
    )
    parser.add_argument(
        "--map-seconds", type=float, default=30.0, metavar="S", help="that a map takes (30)"
    )
    parser.add_argument("--input", nargs="+", metavar="FILE", help="a pool of new texts")
    parser.add_argument("--pool", type=int, default=2000, metavar="N", help="candidates, at most")
    parser.add_argument("--output", type=Path, metavar="FILE", help="of the lines to be filled")
    parser.add_argument("--page", action="store_true", help="mark them in a browser")
    parser.add_argument("--port", type=int, default=8017, metavar="N", help="of the page")
    add_combine(parser)
    trusted_plugins.add_option(parser)
    options = parser.parse_args(arguments)
    if options.count < 1:
        raise UserError(f"--count: {options.count} is not above 0")
    costs = Costs(options.label_seconds, options.map_seconds)
    if min(costs) < 0 or not sum(costs):
        raise UserError("--label-seconds, --map-seconds: numbers that are not below 0, one above")
    folders, unknown = leading_runs(options.runs)
    if unknown:
        raise UserError(f"{unknown[0]}: not a run's folder; try: attnlab runs")
    runs = [open_run(folder, options.trust) for folder in folders]
    from attnlab.stages.trained_run import answering

    trained = answering(runs, options.combine)
    pool = list(islice(_pool(trained, options.input), options.pool))
    output = options.output or trained.folder / FILE
    following = f"python train.py ... dataset.annotations={output}"
    if not output.exists():
        _write(trained, pool, options, costs, output)
        print(f"{output}\nfill in `answer` and `map`, then: {following}")
    elif not options.page:
        raise UserError(
            f"--output: {output} exists; try: --page to go on with it, or another --output"
        )
    if options.page:
        _serve(trained, pool, output, options.port, following)


class Costs(NamedTuple):
    """Seconds that people take."""

    label: float  # for an answer
    map: float

    def of(self, example: Example) -> float:
        """Those for what an example lacks."""
        return self.label * (example.answer is None) + self.map * (not _has_map(example))


def _write(
    trained: TrainedRun,
    pool: Sequence[Example],
    options: argparse.Namespace,
    costs: Costs,
    output: Path,
) -> None:
    """The chosen examples as lines to be filled in: `--count`, or as many as `--minutes` allow."""
    if not pool:
        raise UserError(
            "--input: no example could be read, or training lacks no gold map; "
            "try: --input FILE with texts to choose from"
        )
    way, minutes = options.by, options.minutes
    if minutes is None:
        chosen, values = choose(trained, pool, way, options.count)
    else:
        ranked, values = choose(trained, pool, way, len(pool))
        chosen = affordable(ranked, values, [costs.of(each) for each in pool], 60 * minutes)
    lines = [json.dumps(line, ensure_ascii=False) for line in _lines(trained, pool, chosen, values)]
    try:
        write_whole(output, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise UserError(f"--output: cannot write {output} ({error.strerror})") from None
    needed = sum(costs.of(pool[position]) for position in chosen) / 60
    print(f"{len(chosen)} of {len(pool)} examples, by {way}; about {needed:.0f} minutes")


def affordable(
    ranked: Sequence[int], values: Sequence[float], seconds: Sequence[float], budget: float
) -> list[int]:
    """Of positions in the order of their worth those that the time allows, by worth a second.

    Raises:
        UserError: it allows none.
    """
    ranked = sorted(ranked, key=lambda position: -values[position] / max(seconds[position], 1e-9))
    chosen = []
    for position in ranked:
        if seconds[position] <= budget:
            chosen.append(position)
            budget -= seconds[position]
    if not chosen:
        raise UserError("--minutes: not enough for one example; try: more, or lower costs")
    return chosen


def _serve(
    trained: TrainedRun, pool: Sequence[Example], output: Path, port: int, following: str
) -> None:
    """The page, until Ctrl-C."""
    from attnlab.stages.label_page import LabelFile, LabelServer, serve

    file = LabelFile(output, {example.id: example for example in pool}, trained.prepared.codec)
    server = LabelServer(file, port, following)
    print(f"open {server.address} in a browser; Ctrl-C ends, nothing is lost", flush=True)
    serve(server)
    print(f"\n{file.labelled} of {len(file.lines)} have a map\n{output}\nthen: {following}")


def _pool(trained: TrainedRun, files: Sequence[str] | None) -> Iterator[Example]:
    """Training examples of which training does not see the label or the gold map, or new texts."""
    from attnlab.data.annotations import annotated
    from attnlab.data.supervision import labelled, supervised
    from attnlab.stages.requests import read_requests

    prepared, dataset = trained.prepared, trained.config.dataset
    if files:
        requests = read_requests(files, "train", trained.config, prepared)
        yield from (request.example for request in requests if request.example is not None)
        return
    examples = supervised(prepared.examples("train"), dataset.supervision, dataset.targets)
    examples = labelled(examples, dataset.labelled)
    if dataset.annotations is not None:  # of an earlier round
        examples = annotated(examples, Path(dataset.annotations), dataset.answer_form)
    for example in examples:
        if (example.answer is None and dataset.labelled < 1) or not _has_map(example):
            yield example


def _has_map(example: Example) -> bool:
    return example.target is not None and bool(example.target.query_mask.any())


def choose(
    trained: TrainedRun, pool: Sequence[Example], way: str, count: int
) -> tuple[list[int], list[float]]:
    """Positions in the pool of the examples that are worth most, and what each is worth."""
    import torch

    from attnlab.explain import acquisition

    if way not in acquisition.WAYS:
        raise UserError(f"--by: no '{way}'; {suggest(way, acquisition.WAYS)}")
    acquisition.require_choices(trained.task, way)
    if way == "random":
        positions = random.Random(trained.config.seed).sample(
            range(len(pool)), min(count, len(pool))
        )
        return positions, [0.0] * len(pool)
    if way == "core_set":
        vectors = [acquisition.states(trained.model, batch) for batch in _batches(trained, pool)]
        return acquisition.farthest_first(torch.cat(vectors), count), [0.0] * len(pool)
    measure, values = acquisition.MEASURES[way], list[float]()
    torch.manual_seed(trained.config.seed)
    for batch in _batches(trained, pool):
        values += measure(trained.model, trained.task, batch).tolist()
    return acquisition.greatest(values, count), values


def _batches(trained: TrainedRun, pool: Sequence[Example]) -> Iterator[Any]:
    from attnlab.data.batch import collate

    size, codec = trained.config.trainer.batches.eval_size, trained.prepared.codec
    for start in range(0, len(pool), size):
        some = enumerate(pool[start : start + size], start)
        items = [codec.encode_unanswered(example, position) for position, example in some]
        yield collate(items).to(trained.device)


def _lines(
    trained: TrainedRun, pool: Sequence[Example], chosen: Sequence[int], values: Sequence[float]
) -> Iterator[dict[str, Any]]:
    """What is to be filled, the most valuable first."""
    from attnlab.stages.predictions import predict
    from attnlab.stages.requests import Request

    requests = (Request(pool[position].id, pool[position]) for position in chosen)
    for position, (request, answers) in zip(chosen, predict(trained, requests), strict=True):
        example = pool[position]
        texts = {name: value for name, value in example.inputs.items() if isinstance(value, list)}
        yield {
            "id": request.id,
            "inputs": texts,
            "attended": example.attended,
            "answer": example.answer,
            "map": None,
            "rows": None if example.target is None else len(example.target.query_mask),
            "predicted": answers[0].text if answers else "",
            "keys": dict(enumerate(answers[0].keys)) if answers else {},
            "worth": round(values[position], 6),
        }
