"""A picture of one example with its target, for every kind of input.

python -m attnlab.report.example_pictures canvas.png dataset=canvas dataset.task_view=locate
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from attnlab.data.example import Example, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GOLD = "#d1495b"
INK = "#1d2733"
LINE_WIDTH = 88  # characters in a line of highlighted text


def draw_example(example: Example) -> Figure:
    """The attended input, with what the target marks in it, and the answer above."""
    from matplotlib import rc_context

    value = example.inputs[example.attended]
    with rc_context({"axes.edgecolor": "#cccccc", "text.color": INK, "font.size": 9}):
        if not isinstance(value, np.ndarray):
            figure = _draw_units(named(value or ()), example)
        elif value.ndim == 1:
            figure = _draw_sound(value, example)
        else:
            figure = _draw_image(value, example)
        figure.tight_layout()
    return figure


def save_picture(example: Example, path: Path) -> None:
    """The picture as a PNG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_example(example).savefig(path, dpi=110)


def first_drawable(examples: Iterable[Example]) -> Example:
    """The first example whose characters matplotlib's own font can show."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("DejaVu Sans Mono"))
    for example in examples:
        units = example.inputs[example.attended]
        text = "".join(named(units)) if isinstance(units, list) else ""
        if all(font.get_char_index(ord(character)) for character in text):
            return example
    raise ValueError("no example can be drawn with this font")


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def _marks(example: Example) -> np.ndarray:
    """Queries x keys, nothing where there is no target."""
    if example.target is None:
        return np.zeros((1, 0), np.float32)
    return example.target.weights * example.target.query_mask[:, None]


def _parts(example: Example) -> list[str]:
    """What rows of the target belong to."""
    if isinstance(example.answer, list):
        return named(example.answer)
    return [] if isinstance(example.answer, np.ndarray | None) else [str(example.answer)]


def _answer(example: Example) -> str:
    units = _parts(example)
    return ("" if all(len(unit) == 1 for unit in units) else " ").join(units)


def _draw_units(units: list[str], example: Example) -> Figure:
    """A matrix where the answer has several parts, else the text with its marks."""
    marks = _marks(example)
    if len(marks) > 1:
        return _draw_matrix(units, _parts(example), marks)
    return _draw_marked_text(units, marks[0], _answer(example))


def _draw_matrix(units: Sequence[str], answer: Sequence[str], marks: np.ndarray) -> Figure:
    longest = max(map(len, units))
    upright = longest > 2
    room = 0.09 * longest if upright else 0.2
    figure = _new_figure(1.2 + 0.2 * len(units), 0.6 + room + 0.22 * len(answer))
    axes = figure.add_subplot()
    axes.imshow(marks, cmap="Reds", vmin=0, vmax=1.4, aspect="auto")
    names = [unit.replace(" ", "␣") for unit in units]
    axes.set_xticks(range(len(units)), names, rotation=90 if upright else 0)
    axes.set_yticks(range(len(answer)), answer)
    axes.tick_params(length=0)
    return figure


def _draw_marked_text(units: Sequence[str], marks: np.ndarray, answer: str) -> Figure:
    lines = _wrapped(units)
    figure = _new_figure(7.4, 0.7 + 0.22 * len(lines))
    axes = figure.add_subplot()
    axes.set(xlim=(0, LINE_WIDTH), ylim=(len(lines), -1))
    axes.axis("off")
    axes.set_title(f"answer: {answer}", loc="left", fontsize=10)
    for row, line in enumerate(lines):
        column = 0
        for unit in line:
            box = {"facecolor": GOLD, "alpha": 0.35, "edgecolor": "none", "pad": 1.5}
            marked = {"bbox": box} if marks[unit] > 0 else {}
            axes.text(column, row, units[unit], family="monospace", fontsize=8.5, **marked)
            column += len(units[unit]) + 1
    return figure


def _wrapped(units: Sequence[str]) -> list[list[int]]:
    """The units by line, as their places."""
    lines: list[list[int]] = [[]]
    column = 0
    for index, unit in enumerate(units):
        if column + len(unit) > LINE_WIDTH:
            lines.append([])
            column = 0
        lines[-1].append(index)
        column += len(unit) + 1
    return lines


def _draw_sound(sound: np.ndarray, example: Example) -> Figure:
    """Waveform, spectrogram, and when each part of the answer sounds, on one time axis."""
    rate, hop = example.meta["sample_rate"], example.meta["hop"]
    seconds = len(sound) / rate
    figure = _new_figure(7.4, 3.9)
    wave, spectrum, when = figure.subplots(3, 1, sharex=True)
    wave.plot(np.arange(len(sound)) / rate, sound, linewidth=0.3, color=INK)
    wave.set_title(f"answer: {_answer(example)}", loc="left", fontsize=10)
    spectrum.specgram(sound, NFFT=2 * hop, noverlap=hop, Fs=rate, cmap="Blues")
    spectrum.set_ylabel("Hz")
    marks, answer = _marks(example), _parts(example)
    extent = (0, seconds, len(answer) - 0.5, -0.5)
    when.imshow(marks, cmap="Reds", vmax=1.4, aspect="auto", extent=extent, interpolation="nearest")
    when.set_yticks(range(len(answer)), answer)
    when.set(xlabel="seconds", xlim=(0, seconds))
    return figure


def _draw_image(image: np.ndarray, example: Example) -> Figure:
    """The picture, and beside it the same with what the target marks and the answer says."""
    figure = _new_figure(6.4, 3.6)
    plain, marked = figure.subplots(1, 2)
    question = example.inputs.get("question")
    plain.set_title(" ".join(named(question)) if isinstance(question, list) else "", fontsize=9)
    marked.set_title(f"answer: {_answer(example)}" if _answer(example) else "target", fontsize=9)
    for axes in (plain, marked):
        axes.imshow(image[0], cmap="gray", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
    gold = _marks(example).sum(0).reshape(image.shape[1:])  # height x width
    marked.imshow(gold, cmap="Reds", alpha=0.75 * gold / max(float(gold.max()), 1e-9))
    if isinstance(example.answer, np.ndarray) and example.answer.shape[-1:] == (5,):
        _draw_boxes(marked, example.answer)
    return figure


def _draw_boxes(axes: Axes, boxes: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    for left, top, right, bottom, label in boxes.tolist():
        corner = (left - 0.5, top - 0.5)
        axes.add_patch(Rectangle(corner, right - left, bottom - top, fill=False, edgecolor=GOLD))
        axes.text(left, top - 1, str(int(label)), color=GOLD)


def main(arguments: Sequence[str]) -> None:
    """Write the picture of a training example of the dataset that the overrides name."""
    from attnlab.config.compose import compose, resolve
    from attnlab.config.dataset import Dataset

    path, *overrides = arguments
    dataset = Dataset.model_validate(resolve(compose(overrides))["dataset"])
    save_picture(first_drawable(dataset.build().examples("train")), Path(path))
    print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
