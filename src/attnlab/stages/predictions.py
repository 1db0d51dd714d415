"""Answers of a trained run to requests, each with its score and its map, also as JSON."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omegaconf import OmegaConf

from attnlab.config.compose import check, config_dir
from attnlab.config.dataset import Dataset
from attnlab.config.task import Eviction
from attnlab.data.batch import collate
from attnlab.data.codec import Codec, Map
from attnlab.data.example import Example
from attnlab.data.groups import Groups
from attnlab.data.prepared import Prepared
from attnlab.data.vocabulary import Vocabulary
from attnlab.datasets.readers.files import BadRowError
from attnlab.errors import UserError, suggest
from attnlab.report.calibration_pictures import read_calibration
from attnlab.report.examples import ShownExample, gold_text
from attnlab.stages.requests import Request, in_units, wording_of
from attnlab.stages.trained_run import TrainedRun
from attnlab.tasks.classify.task import OneChoice
from attnlab.tasks.generate import Decoding
from attnlab.tasks.task import Prediction, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SORTED_TOGETHER = 20  # batches whose requests are sorted by length together


@dataclass(frozen=True)
class PredictedAnswer:
    """One answer to one input, with the map that the model made it with.

    Attributes:
        text: the answer in words.
        score: a probability, or the log probability of a text; None where the task has none.
        map: rows x keys, the mean over heads, over whole words; each row sums to one.
        rows: the name of each row of the map: the words of the answer, or the answer itself.
        keys: the name of each key: words of the input, row and column of a patch, number of a step.
        others: the next best answers to the same input, where more than one was asked for.
    """

    text: str
    score: float | None
    map: Map
    rows: list[str]
    keys: list[str]
    others: list[PredictedAnswer] = field(default_factory=list)
    words: list[str] = field(default_factory=list, repr=False)  # of an answer that is a text
    shown: ShownExample | None = field(default=None, repr=False)  # as reports show it

    @classmethod
    def of(cls, prediction: Prediction, example: Example, codec: Codec) -> PredictedAnswer:
        """The prediction with its map over whole words, without the padding."""
        units = codec.groups(example)
        weights = prediction.map.cpu().numpy()[:, : len(units)]
        rows = prediction.rows
        if rows is None:
            tags = codec.layout.rows == "input"  # a row for each unit of the input
            rows = units.reverse() if tags else Groups.same(len(weights))
        weights = codec.over_words(example, weights, rows)
        words = list(prediction.words)
        shown = ShownExample.of_prediction(example, codec, prediction.text, weights, words)
        names = shown.queries, shown.keys
        return cls(prediction.text, prediction.score, weights, *names, words=words, shown=shown)

    def show(self) -> Figure:
        """The map as a matplotlib figure; `figure.savefig(...)` writes it."""
        from attnlab.report.map_pictures import draw_map

        assert self.shown is not None
        return draw_map(self.shown)

    def _repr_html_(self) -> str:
        stream = io.BytesIO()
        self.show().savefig(stream, format="png", dpi=100)
        picture = base64.b64encode(stream.getvalue()).decode()
        score = "" if self.score is None else f" ({self.score:.3g})"
        return (
            f"<div><b>{html.escape(self.text)}</b>{score}<br>"
            f"<img alt='attention map' src='data:image/png;base64,{picture}'></div>"
        )


def predict(
    trained: TrainedRun, requests: Iterator[Request], n_best: int = 1, task: Task | None = None
) -> Iterator[tuple[Request, list[PredictedAnswer]]]:
    """Requests in their order, each with its answers, the best first.

    A part of the requests is read at a time; those of a length are answered together.

    Args:
        trained: the run that answers.
        requests: one that could not be read has no answers.
        n_best: how many answers to each request, where the task has so many.
        task: decodes in another way than the run's own, see `decoding_as`.
    """
    learner, codec = trained.learner, trained.prepared.codec
    size, task = trained.config.trainer.batches.eval_size, task or trained.task
    while chunk := list(islice(requests, SORTED_TOGETHER * size)):
        items = [(q.example and codec.encode_unanswered(q.example, i)) for i, q in enumerate(chunk)]
        order = sorted((i for i in items if i is not None), key=lambda item: item.keys)
        answers: dict[int, list[PredictedAnswer]] = {}
        for start in range(0, len(order), size):
            batch = collate(order[start : start + size]).to(learner.device)
            predicted = task.predict(learner.model, batch, n_best)
            for index, predictions in zip(batch.index.tolist(), predicted, strict=True):
                example: Any = chunk[index].example
                answers[index] = [PredictedAnswer.of(p, example, codec) for p in predictions]
        yield from ((request, answers.get(i, [])) for i, request in enumerate(chunk))


def decoding_as(
    trained: TrainedRun,
    kind: str | None,
    settings: Sequence[str],
    n_best: int | None,
    eviction: str | None = None,
) -> Task:
    """The run's task with another way of decoding, checked as any config is.

    Args:
        trained: the run; its model serves every way of decoding.
        kind: greedy, beam or sample; the run's own if None, or a beam where several answers are
            asked for.
        settings: of the decoding, as `size=10`, or of the eviction, as `budget=128`.
        n_best: how many answers to each request.
        eviction: which keys the decoder keeps; as in the run if None.
    """
    plain = trained.run.plain
    decoding = plain["task"].get("decoding")
    if decoding is None:
        if kind or settings or eviction:
            problem = f"task '{trained.config.task.kind}' decodes nothing"
            raise UserError(f"--decoding: {problem}; try it without")
        return trained.task
    if not kind and not settings and not eviction and (n_best or 1) == 1:
        return trained.task
    if n_best and n_best > 1 and kind is None and decoding["kind"] == "greedy":
        kind = "beam"
    if kind:
        decoding = _defaults("decoding", kind)
    kept = _defaults("eviction", eviction) if eviction else plain["task"]["eviction"]
    if n_best and "answers" in decoding:
        decoding = decoding | {"answers": n_best}
        if "size" in decoding:
            decoding["size"] = max(decoding["size"], n_best)
    of_eviction = [setting for setting in settings if setting.partition("=")[0] in kept]
    of_decoding = [setting for setting in settings if setting not in of_eviction]
    made = {
        "decoding": OmegaConf.merge(decoding, OmegaConf.from_dotlist(of_decoding)),
        "eviction": OmegaConf.merge(kept, OmegaConf.from_dotlist(of_eviction)),
    }
    plain_made = {slot: OmegaConf.to_container(each) for slot, each in made.items()}
    changed = plain | {"task": plain["task"] | plain_made}
    config, _ = check(OmegaConf.create(changed))
    task: Task = config.task.build(trained.prepared.codec)
    task.use_decoding()
    return task


def calibrate(task: Task, folder: Path) -> None:
    """Let a task predict probabilities with the temperature that `attnlab evaluate` fitted."""
    if not isinstance(task, OneChoice):
        raise UserError("--calibrated: this task predicts no probabilities; try it without")
    calibration = read_calibration(folder)
    if not calibration:
        raise UserError(f"--calibrated: {folder} has none; try: attnlab evaluate {folder}")
    task.temperature = calibration["figures"]["temperature"]


def _defaults(slot: Literal["decoding", "eviction"], kind: str) -> dict[str, Any]:
    path = config_dir() / "task" / slot / f"{kind}.yaml"
    if not path.is_file():
        kinds = Decoding.kinds() if slot == "decoding" else Eviction.kinds()
        raise UserError(f"--{slot}: no '{kind}'; {suggest(kind, kinds)}")
    return OmegaConf.to_container(OmegaConf.load(path))  # type: ignore[return-value]


def offer_training_answers(trained: TrainedRun) -> None:
    """Let a task that chooses among texts choose among the answers of the training examples."""
    if trained.task.chooses_among_texts:
        answers: Iterable[Any] = (e.answer for e in trained.prepared.examples("train"))
        trained.task.choose_among(trained.model, answers)


def offer_replies(trained: TrainedRun, file: str | None) -> None:
    """Let the task choose among the lines of a file, or among all answers of training."""
    if file is None:
        offer_training_answers(trained)
    elif not trained.task.chooses_among_texts:
        raise UserError("--replies: this run does not choose among texts; try it without")
    else:
        vocabulary = trained.prepared.codec.answers.vocabulary
        assert vocabulary is not None
        if not Path(file).is_file():
            raise UserError(f"--replies: no file {file}")
        lines = _reply_lines(Path(file), trained.config.dataset, vocabulary)
        trained.task.choose_among(trained.model, lines)


def _reply_lines(file: Path, dataset: Dataset, vocabulary: Vocabulary) -> Iterator[list[str]]:
    """The lines of a file as the words of answers."""
    wording = wording_of(dataset)
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            yield in_units(line, wording, vocabulary, "line")
        except BadRowError as error:
            raise UserError(f"--replies: {file}:{number}: {error}") from None


def as_json(
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


def as_annotation(
    request: Request, answers: Sequence[PredictedAnswer], codec: Codec
) -> dict[str, Any]:
    """A line of `dataset.annotations` in which the best answer takes the place of gold."""
    line: dict[str, Any] = {"id": request.id}
    if not answers or request.example is None:
        return line
    answer = codec.answers.annotation(answers[0].text, answers[0].words)
    if not codec.answers.accepts(answer):
        raise UserError(
            f"--as-annotations: answers of form '{codec.form}' have no such lines; "
            "allowed: item, label, numbers, units"
        )
    return line | {"answer": answer}


def as_rows(
    request: Request, answers: Iterable[PredictedAnswer], codec: Codec
) -> Iterator[dict[str, Any]]:
    """The row of a file with each answer in the place of the text that was attended to."""
    if not request.column:
        raise UserError(f"--as-rows: {request.id} is no row of a file; try: --input FILE")
    if codec.attended not in codec.texts or codec.form != "units":
        raise UserError("--as-rows: writes texts that are made of texts; try: task=generate")
    for answer in answers:
        if answer.text:
            yield {**request.row, request.column: answer.text}


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
