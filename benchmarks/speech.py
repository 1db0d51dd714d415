"""Speech: spoken digits one by one and connected, beside their controls.

    python -m benchmarks.speech --data ../shared/data                 # all; what ran is picked up
    python -m benchmarks.speech --data ../shared/data fsdd_connected  # some

The runs are kept in runs/benchmarks/speech. `--threads` is of each training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
import torch

from attnlab.attention.taps import Tap
from attnlab.config.compose import load
from attnlab.data.batch import Batch, pad
from attnlab.data.example import Example, Split
from attnlab.data.inputs import Sound
from attnlab.data.loader import eval_loader
from attnlab.data.prepared import Prepared
from attnlab.metrics.links import Path as BestPath
from attnlab.metrics.path import matched
from attnlab.models.embedders import LogMel
from attnlab.stages.prepare import prepared_data
from attnlab.stages.run import Run, open_run
from attnlab.stages.trained_run import load_learner
from attnlab.tasks.generate.head import Generator, aligned
from benchmarks.runs import figures
from benchmarks.tables import Tables, Trained, prepared, seconds, values

NEAR = 0.05  # seconds by which the boundary of a word may be off
Spans = Sequence[tuple[float, float]]  # begin and end of each word, in seconds


def digits(data: str, trained: Trained) -> Iterator[str]:
    """Spoken digits on the official test part."""
    rows = {
        "LSTM and attention": trained("fsdd", "experiment=fsdd"),
        "the same, mean in place of attention": trained(
            "fsdd_mean", "experiment=fsdd", "attention=uniform"
        ),
    }
    yield "| model | accuracy (target 0.985) | seconds |"
    yield "|---|---|---|"
    control = log_mel_regression(prepared(data, "experiment=fsdd"))
    yield f"| log-mel in 16 steps, logistic regression | {control:.4f} | |"
    for name, runs in rows.items():
        yield f"| {name} | {values(runs, 'answer', 'accuracy')} | {seconds(runs)} |"


def log_mel_regression(sounds: Prepared) -> float:
    """Accuracy of what needs no network: the mean spectrum of 16 stretches of equal length."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    found = sounds.codec.inputs["audio"]
    assert isinstance(found, Sound)
    audio = load(["experiment=fsdd"])[0].model.audio
    front: LogMel = audio.build(found, 8)

    def features(split: Split) -> tuple[np.ndarray, list[str]]:
        examples = list(sounds.examples(split))
        spectra = [
            front.spectrum(pad([found.encode(each.inputs["audio"])]).values)[0].numpy()
            for each in examples
        ]
        rows = [_in_steps(spectrum, 16).ravel() for spectrum in spectra]
        return np.stack(rows), [str(each.answer) for each in examples]

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    parts = [features(split) for split in ("train", "val")]
    model.fit(np.concatenate([p[0] for p in parts]), [label for p in parts for label in p[1]])
    return float(model.score(*features("test")))


def _in_steps(spectrum: np.ndarray, steps: int) -> np.ndarray:
    """The means of so many stretches of equal length: frames x bands -> steps x bands."""
    edges = np.linspace(0, len(spectrum), steps + 1)
    begin, end = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
    return np.stack([spectrum[b:e].mean(0) for b, e in zip(begin, end, strict=True)])


CONNECTED = {
    "location-aware, supervised, with CTC": ("joint", ()),
    "the same without CTC": ("written", ("task.ctc=0.0",)),
    "the same without supervision of maps": ("unsupervised", ("objective=unsupervised",)),
    "additive, supervised, with CTC": ("additive", ("attention=additive",)),
    "monotonic, supervised, with CTC": ("monotonic", ("attention=monotonic",)),
    "CTC alone": ("ctc", ("task.ctc=1.0", "objective=unsupervised")),
}


def connected(data: str, trained: Trained) -> Iterator[str]:
    """Two to six digits in noise: what was said, and when."""
    yield (
        "| model | digit error (target 0.05) | of CTC | F1 of boundaries at 50 ms (target 0.9) | "
        "of CTC's alignment | mass on gold | seconds |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name, (folder, overrides) in CONNECTED.items():
        words = ("experiment=fsdd_connected", *overrides)
        made = trained.runs(f"fsdd_connected_{folder}", *words)
        if not made:
            continue
        runs = figures(made)
        alone, has_ctc = folder == "ctc", folder != "written"
        found = [boundaries(open_run(run.folder)) for run in made]
        cells = [
            "" if alone else values(runs, "answer", "character_error"),
            values(runs, "answer", "ctc_character_error") if has_ctc else "",
            "" if alone else values(found, "attention"),
            values(found, "ctc") if has_ctc else "",
            "" if alone else values(runs, "attention", "mass_on_gold"),
            seconds(runs),
        ]
        yield f"| {name} | {' | '.join(cells)} |"


@torch.no_grad()
def boundaries(run: Run) -> dict[str, float]:
    """F1 of word boundaries in seconds, given the right words: of the map, and of CTC."""
    data = prepared_data(run.config)
    learner = load_learner(run, data)
    model, task, examples = learner.model, learner.task, data.examples("test")
    assert isinstance(model, Generator)
    sound = data.codec.inputs["audio"]
    assert isinstance(sound, Sound)
    step = sound.hop * data.layout.stride / sound.sample_rate  # seconds
    rule = BestPath(level=0.5)
    predicted: dict[str, list[tuple[Spans, Spans]]] = {"attention": [], "ctc": []}
    items = [data.codec.encode(example, i) for i, example in enumerate(examples)]
    for batch in eval_loader(items, 100, pin=False):
        gold = [true_spans(examples[i]) for i in batch.index.tolist()]
        with Tap(model, task.map) as tap:
            scores = task.run(model, batch)
        keys = batch.target.keys() & batch.target.query_mask[..., None]  # the end mark has no time
        links = rule.links(tap.weights().mean(1), keys) > 0.5
        predicted["attention"] += zip(map_spans(links, step), gold, strict=True)
        if model.ctc is not None:
            spans = ctc_spans(scores.ctc.log_probs, scores.ctc.mask, batch, step)
            predicted["ctc"] += zip(spans, gold, strict=True)
    return {name: boundary_f1(pairs) for name, pairs in predicted.items() if pairs}


def true_spans(example: Example) -> Spans:
    return [(begin, end) for begin, end in example.meta["seconds"]]  # type: ignore[attr-defined]


def map_spans(links: torch.Tensor, step: float) -> Iterator[Spans]:
    """When each row's stretch begins and ends; a row without one has no times."""
    for rows in links:
        places = [row.nonzero()[:, 0].tolist() for row in rows]
        yield [(each[0] * step, (each[-1] + 1) * step) for each in places if each]


def ctc_spans(
    log_probs: torch.Tensor, mask: torch.Tensor, batch: Batch, step: float
) -> Iterator[Spans]:
    """The times of the best path through CTC's steps, given the right words."""
    lengths = (batch.answer.mask.sum(1) - 1).tolist()
    for row, real, units, length in zip(log_probs, mask, batch.answer.values, lengths, strict=True):
        spans = aligned(row[real], units[:length].tolist())
        yield [(start * step, stop * step) for start, stop in spans]


def boundary_f1(pairs: Sequence[tuple[Spans, Spans]]) -> float:
    """Each boundary finds one at most, and is found once at most."""
    both = total = 0
    for predicted, true in pairs:
        edges, right = (sorted(chain.from_iterable(side)) for side in (predicted, true))
        both += matched(edges, right, NEAR)
        total += len(edges) + len(right)
    return 2 * both / max(total, 1)


TABLES = Tables(
    "speech",
    {
        "fsdd": ("Speech: spoken digits", digits, "Official test part: takes 0 to 4."),
        "fsdd_connected": (
            "Speech: connected digits in noise",
            connected,
            "Two to six digits of the Free Spoken Digit Dataset, 20 to 300 ms of silence between "
            "them, 5 to 20 dB; training and test share no recording (official split). Boundaries "
            "are of the words that were said: of the map by its best path, of CTC by Viterbi.",
        ),
    },
)

if __name__ == "__main__":
    TABLES.main()
