"""`attnlab.load` and `attnlab.train`: a trained run that predicts, evaluates and explains."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from attnlab.config.compose import load as load_config
from attnlab.config.evaluation import Method
from attnlab.data.batch import collate
from attnlab.data.example import SPLITS, Split
from attnlab.errors import UserError, suggest
from attnlab.report.summary import read_figures
from attnlab.report.tables import show_figures
from attnlab.stages import train as training
from attnlab.stages.evaluate import changed_run, folder_name
from attnlab.stages.evaluated_split import evaluate
from attnlab.stages.explain import not_explained, uncompiled
from attnlab.stages.predictions import (
    PredictedAnswer,
    decoding_as,
    offer_training_answers,
    predict,
)
from attnlab.stages.requests import Request, read_requests, requests_of_values
from attnlab.stages.run import open_run
from attnlab.stages.trained_run import TrainedRun as LoadedRun
from attnlab.training.distributed import require_gpu

if TYPE_CHECKING:
    from attnlab.data.example import Example
    from attnlab.explain.findings import Explanation

Value = str | Mapping[str, Any]  # a text, or values by the names of inputs
MAX_BATCH = 16  # examples explained together
MAX_VARIANTS = 64  # variants of examples in one pass


def load(run: str | Path = "latest", *, trust: bool = False) -> TrainedRun:
    """Load a trained run.

    Data and model are read when they are first used.

    Args:
        run: the folder of the run, or "latest" for the last below runs/ that is trained.
        trust: import the plugins that the run's config names, whoever wrote them; without it only
            those that you have trained with on this machine.

    Returns:
        The run, which predicts, evaluates and explains.

    Raises:
        UserError: there is no such run, or it has plugins that are not trusted.

    Examples:
        >>> run = attnlab.load("latest")  # doctest: +SKIP
        >>> run.predict("3 May 2004")[0].text  # doctest: +SKIP
        '2004-05-03'
    """
    return TrainedRun(open_run(run, trust))


def train(overrides: str | Sequence[str] = ()) -> TrainedRun:
    """Train a model in this process, as `python train.py` does in its own.

    Args:
        overrides: what would stand on the command line, such as `model=transformer` or `seed=1`.

    Returns:
        The trained run.

    Raises:
        UserError: the config is wrong; the message has a line for each mistake.
        RunError: the training failed or was stopped; the message says how it goes on.

    Examples:
        >>> run = attnlab.train(["experiment=dates", "trainer.max_epochs=1"])  # doctest: +SKIP
        >>> run.figures["answer"]["exact_match"]  # doctest: +SKIP
        0.98
    """
    words = [overrides] if isinstance(overrides, str) else list(overrides)
    config, plain = load_config(words)
    if config.hparams is not None:
        raise UserError("hparams: a search starts processes; try: python train.py hparams=...")
    if "train" not in config.stages:
        raise UserError(f"stages: no 'train' among {config.stages}")
    require_gpu(config.trainer.accelerator)
    run = training.main(config, plain, words)
    assert run is not None
    return TrainedRun(run)


class TrainedRun(LoadedRun):
    """A trained run.

    Examples:
        >>> run = attnlab.load("latest")  # doctest: +SKIP
        >>> answer, other = run.predict(["3 May 2004", "12 de marzo de 1999"])  # doctest: +SKIP
        >>> answer.text, answer.map.shape  # doctest: +SKIP
        ('2004-05-03', (10, 10))
        >>> answer.show().savefig("map.png")  # doctest: +SKIP
        >>> run.evaluate()["attention"]["mass_on_gold"]  # doctest: +SKIP
        0.9989
    """

    def predict(
        self, inputs: Value | Sequence[Value], n_best: int = 1, *, limit: int | None = None
    ) -> PredictedAnswers:
        """Answer inputs, with scores and maps.

        Args:
            inputs: a text; a mapping from names of inputs to their values (texts, or arrays of
                pixels or samples), where the model reads several or no text; a list of either; or
                the name of a split: "train", "val" or "test". (`["test"]` is the text "test".)
            n_best: how many answers to each input; those after the best are in `others`.
            limit: the first inputs only.

        Returns:
            A list with the best answer to each input.

        Raises:
            UserError: an input cannot be read by this run.

        Examples:
            >>> run.predict("3 May 2004", n_best=3)[0].others[0].score  # doctest: +SKIP
            -7.3
        """
        task = decoding_as(self, None, (), n_best)
        if not self._chooses:
            offer_training_answers(self)
            self._chooses = True
        requests = list(islice(self._requests(inputs), limit))
        for request in requests:
            _readable(request)
        best = PredictedAnswers()
        for _, (first, *others) in predict(self, iter(requests), n_best, task):
            first.others.extend(others)
            best.append(first)
        return best

    def evaluate(self, *changes: str, split: Split = "test") -> dict[str, Any]:
        """Compute every figure of a split.

        Files are written as by `attnlab evaluate`: beside the run's own for the test split as the
        run was trained, else in a folder below `evaluations/`.

        Args:
            changes: other settings of metrics or decoding, "metrics.links.share=0.35", or of the
                data of the test split, "dataset.splits.test=other.csv".
            split: "train", "val" or "test".

        Returns:
            Figures by what they are about: answer, attention, trust, controls, intervals, cost.

        Examples:
            >>> run.evaluate("task/decoding=beam", split="val")["answer"]  # doctest: +SKIP
            {'exact_match': 0.994}
        """
        if not changes and split == "test":
            return evaluate(self)
        name = folder_name([*changes, *([] if split == "test" else [f"split={split}"])])
        run, folder = changed_run(self.run, list(changes), name)
        return evaluate(LoadedRun(run), folder, split)

    def explain(
        self,
        inputs: Value | Sequence[Value] = "test",
        methods: Sequence[Method] | None = None,
        *,
        limit: int | None = None,
    ) -> list[Explanation]:
        """Attribute answers to the units of the input, by several methods.

        `attnlab explain` also tests whether the map can be trusted.

        Args:
            inputs: as in `predict`.
            methods: names of methods, such as "attention", "gradient_input", "shap"; those of the
                run's config if None.
            limit: the first inputs only; of a split as many as the config says if None.

        Returns:
            For each input the decisions of its answer, with scores of every unit by each method.

        Raises:
            UserError: the task makes no decision that could be explained, or a method is unknown.

        Examples:
            >>> (found,) = run.explain("a great film", methods=["shap"])  # doctest: +SKIP
            >>> dict(zip(found.keys, found.scores["shap"][0]))  # doctest: +SKIP
            {'a': 0.01, 'great': 2.41, 'film': 0.12}
        """
        from attnlab.explain.findings import Explanation, Explanations
        from attnlab.explain.methods import methods as methods_of

        settings = self.config.explain
        if mistake := not_explained(self.config.task):
            raise UserError(str(mistake))
        for name in methods or ():
            if name not in get_args(Method):
                raise UserError(f"methods: no '{name}'; {suggest(name, get_args(Method))}")
        if methods is not None:
            settings = settings.model_copy(update={"methods": list(methods)})
        if limit is None and isinstance(inputs, str) and inputs in SPLITS:
            limit = settings.examples
        requests = islice(self._requests(inputs), limit)
        examples = [_readable(request) for request in requests]
        trained = LoadedRun(uncompiled(self.run)) if self.config.trainer.compile else self
        explanations = Explanations(methods_of(settings), self.prepared.codec)
        for start in range(0, len(examples), MAX_BATCH):
            part = examples[start : start + MAX_BATCH]
            subject = _subject(trained, part)
            explanations.explain(subject, part, subject.batch.target, lambda _, run: run())
        return [Explanation.of(record) for record in explanations.examples]

    @property
    def figures(self) -> dict[str, Any]:
        """The figures of the last evaluation of the test split; {} if there was none."""
        path = self.folder / "metrics.json"
        return read_figures(self.folder) if path.is_file() else {}

    def show(self) -> None:
        """Print the table of figures, and where the run's files are."""
        if not self.figures:
            raise UserError(f"{self.folder}: not evaluated; try: run.evaluate()")
        show_figures(self.config.name, self.folder, self.figures)

    def __repr__(self) -> str:
        return f"TrainedRun('{self.folder}')"

    def _repr_html_(self) -> str:
        figures = self.figures
        intervals, rows = figures.get("intervals", {}), []
        for about in ("answer", "attention"):
            for name, value in figures.get(about, {}).items():
                cells = about, name, *map(_number, (value, *intervals.get(name, (None, None))))
                rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
        head = "".join(f"<th>{name}</th>" for name in ("", "figure", "test", "from", "to"))
        table = "".join(f"<tr>{row}</tr>" for row in rows)
        title = html.escape(f"{self.config.name}: {self.folder}")
        return f"<div><b>{title}</b><table><tr>{head}</tr>{table}</table></div>"

    _chooses = False  # whether a task that chooses among texts has been given some

    def _requests(self, inputs: Value | Sequence[Value]) -> Iterator[Request]:
        if isinstance(inputs, str) and inputs in SPLITS:
            return read_requests(None, inputs, self.config, self.prepared)  # type: ignore[arg-type]
        values = [inputs] if isinstance(inputs, str | Mapping) else list(inputs)
        return requests_of_values(values, self.config, self.prepared)


class PredictedAnswers(list[PredictedAnswer]):
    """Answers in the order of their inputs; a notebook shows the first of them with their maps."""

    SHOWN = 20

    def _repr_html_(self) -> str:
        more = f"<p>{len(self) - self.SHOWN} more</p>" if len(self) > self.SHOWN else ""
        return "".join(each._repr_html_() for each in self[: self.SHOWN]) + more


def _readable(request: Request) -> Example:
    """The example of a request; raises a `UserError` if its input could not be read."""
    if request.example is None:
        raise UserError(f"{request.id}: {request.problem}")
    return request.example


def _subject(trained: LoadedRun, examples: Sequence[Example]) -> Any:
    """A model with some examples, as methods explain them."""
    from attnlab.explain.subject import Subject

    codec = trained.prepared.codec
    items = [codec.encode_unanswered(example, i) for i, example in enumerate(examples)]
    batch = collate(items).to(trained.device)
    return replace(Subject.of(trained.model, trained.task, batch), at_once=MAX_VARIANTS)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
