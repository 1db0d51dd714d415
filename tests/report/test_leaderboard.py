"""The leaderboard: means, intervals, order, fronts, and the files it is written to."""

from __future__ import annotations

import csv
import json
import re
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from attnlab.metrics.figures import bootstrap_seeds
from attnlab.report import leaderboard_picture, leaderboard_table
from attnlab.report.leaderboard import (
    Entry,
    Leaderboard,
    leaderboard,
    pareto,
)
from attnlab.report.leaderboard_page import page
from tests.commands import REPOSITORY
from tests.report import browser

EXAMPLES, DRAWS = 50, 1000
COMMAND = ["attnlab", "compare", "attention=additive,dot"]


def scored(system: str, seed: int, quality: float, on_gold: float, seconds: float) -> Entry:
    """A run with this share of right answers; of every other example the map is right."""
    random = np.random.default_rng(seed)
    right = random.permutation(np.arange(EXAMPLES) < round(quality * EXAMPLES)).astype(float)
    figures = {
        "answer": {"loss": 1 - quality, "accuracy": right.mean(), "f1_macro": quality},
        "attention": {"mass_on_gold": on_gold, "auprc": None},
        "trust": {"uniform": 0.4, "permuted": 0.3},
        "controls": {
            "uniform": {"mass_on_gold": 0.1},
            "oracle": {"mass_on_gold": 1.0},
            "random": {"mass_on_gold": 0.12},
        },
        "cost": {"train_seconds": seconds, "peak_memory_mib": 500.0, "parameters": 1000},
    }
    means = resampled(right)
    resamples = {"accuracy": [f"{mean:.6g}" for mean in means]}
    resamples["trust/permuted"] = ["0.3"] * DRAWS
    ids = [f"test-{i}" for i in range(EXAMPLES)]
    return Entry(system, seed, f"runs/{system}/{seed}", "finished", "", "", figures, resamples, ids)


def resampled(right: np.ndarray) -> np.ndarray:
    random = np.random.default_rng(0)
    return np.array([right[random.integers(EXAMPLES, size=EXAMPLES)].mean() for _ in range(DRAWS)])


def failed(system: str, seed: int = 0) -> Entry:
    said = "the loss is nan at step 3 <stopped>"
    return Entry(system, seed, f"runs/{system}/{seed}", "failed", said, f"runs/{system}/log.txt")


@pytest.fixture
def board() -> Leaderboard:
    return leaderboard(entries())


def entries() -> list[Entry]:
    """Four systems with figures, one of two runs that failed, and one without any."""
    return [
        failed("broken"),
        scored("slow", 0, 0.9, 0.3, 90.0),
        scored("quick", 0, 0.7, 0.6, 9.0),
        scored("beaten", 0, 0.6, 0.5, 95.0),
        scored("slow", 1, 0.8, 0.4, 92.0),
        failed("half", 1),
        scored("half", 0, 0.5, 0.2, 10.0),
    ]


def test_the_best_answers_come_first_and_failures_last(board: Leaderboard) -> None:
    assert [row.system for row in board.rows] == ["slow", "quick", "beaten", "half", "broken"]
    assert board.figures["quality"] == "accuracy"
    assert board.figures["plausibility"] == "mass_on_gold"
    assert board.controls == {"uniform": 0.1, "oracle": 1.0}


def test_a_row_is_the_mean_of_its_seeds(board: Leaderboard) -> None:
    row = board.rows[0]
    assert row.measures["quality"].mean == pytest.approx(0.85)
    assert row.measures["plausibility"].mean == pytest.approx(0.35)
    assert row.measures["trust"].mean == pytest.approx(0.3), "the milder of two swaps"
    assert row.measures["seconds"].mean == pytest.approx(91)
    assert row.measures["memory"].mean == 500
    assert row.measures["memory"].low is None, "nothing varies"


def test_the_interval_resamples_seeds_and_examples(board: Leaderboard) -> None:
    """Beside an independent two-level bootstrap of the same examples."""
    rows = [[entry for entry in row.entries if entry.figures] for row in board.rows[:2]]
    for measured, entries in zip(board.rows[:2], rows, strict=True):
        tables = []
        for entry in entries:
            share = entry.figures["answer"]["accuracy"]
            random = np.random.default_rng(entry.seed)
            right = random.permutation(np.arange(EXAMPLES) < round(share * EXAMPLES))
            tables.append(right.astype(float))
        expected = bootstrap_seeds(tables)
        found = measured.measures["quality"]
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.025)


def test_seeds_evaluated_on_other_examples_vary_by_seed_alone() -> None:
    first, second = scored("a", 0, 0.9, 0.3, 1.0), scored("a", 1, 0.5, 0.3, 1.0)
    other = Entry(**(vars(second) | {"examples": second.examples[::-1]}))
    found = leaderboard([first, other]).rows[0].measures["quality"]
    assert (found.low, found.high) == pytest.approx((0.5, 0.9)), "of two values: both ends"


def test_fronts_hold_what_nothing_beats(board: Leaderboard) -> None:
    fronts = {row.system: set(row.fronts) for row in board.rows}
    assert fronts["slow"] == {"seconds", "plausibility", "trust"}
    assert fronts["quick"] == {"seconds", "plausibility"}
    assert fronts["beaten"] == fronts["half"] == fronts["broken"] == set()


def test_pareto_beside_its_definition() -> None:
    random = np.random.default_rng(2)
    points = random.integers(0, 4, size=(30, 2)).tolist()  # with ties
    for point, best in zip(points, pareto(points), strict=True):
        better = [q for q in points if q != point and q[0] >= point[0] and q[1] >= point[1]]
        assert best == (not better)


def test_less_is_better_turns_the_order_round() -> None:
    entries = [scored("good", 0, 0.9, 0.3, 1.0), scored("bad", 0, 0.5, 0.3, 1.0)]
    for entry in entries:
        entry.figures["answer"].clear()  # type: ignore[attr-defined]
        entry.figures["answer"]["loss"] = 0.1 if entry.system == "good" else 0.9
    found = leaderboard(entries)
    assert found.figures["quality"] == "loss"
    assert [row.system for row in found.rows] == ["good", "bad"]
    assert found.is_lower_better("quality")
    assert leaderboard_picture.draw(found).axes[0].yaxis_inverted(), "up is better"


def test_a_run_says_which_way_its_figures_are_better() -> None:
    entries = [scored("good", 0, 0.9, 0.3, 1.0), scored("bad", 0, 0.5, 0.3, 1.0)]
    for entry in entries:
        figures = {"error_of_a_plugin": 0.1 if entry.system == "good" else 0.9}
        about = {"error_of_a_plugin": {"help": "Errors", "higher_is_better": False}}
        entry.figures.update(answer=figures, about=about)  # type: ignore[attr-defined]
    assert [row.system for row in leaderboard(entries).rows] == ["good", "bad"]


def test_the_colours_are_the_explorer_s() -> None:
    text = (REPOSITORY / "src/attnlab/report/explorer/theme.js").read_text()
    for name, palette in (("LIGHT", leaderboard_picture.LIGHT), ("DARK", leaderboard_picture.DARK)):
        theme = re.search(rf"const {name} = {{(.*?)}};", text, re.DOTALL)
        assert theme is not None
        assert set(palette.values()) <= set(re.findall(r"#[0-9a-f]{6}", theme[1]))


def test_the_table_says_everything(board: Leaderboard) -> None:
    console = Console(file=StringIO(), width=140)
    leaderboard_table.show(console, board, "attention on reviews")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for words in ("accuracy", "mass on gold", "0.850", "(uniform map)", "1 of 2 failed"):
        assert words in text
    assert "broken, seed 0: failed; the loss is nan at step 3 <stopped>" in text
    assert "runs/broken/log.txt" in text


def test_csv_and_json_hold_every_system(board: Leaderboard, tmp_path: Path) -> None:
    leaderboard_table.write_csv(board, tmp_path / "board.csv")
    with (tmp_path / "board.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["system"] for row in rows] == [row.system for row in board.rows]
    assert rows[0]["quality"] == "0.85"
    assert rows[0]["quality_figure"] == "accuracy"
    assert (rows[-1]["state"], rows[-1]["quality"]) == ("failed", "")
    assert "nan at step 3" in rows[-1]["error"]

    leaderboard_table.write_json(board, COMMAND, tmp_path / "board.json")
    content = json.loads((tmp_path / "board.json").read_text())
    assert content["command"] == "attnlab compare attention=additive,dot"
    assert content["rows"][0]["measures"]["quality"]["mean"] == pytest.approx(0.85)
    assert content["rows"][0]["runs"][1]["figures"]["cost"]["train_seconds"] == 92.0
    assert content["lower_is_better"] == ["seconds", "memory", "parameters"]


def test_the_picture_is_drawn_twice_the_same(board: Leaderboard, tmp_path: Path) -> None:
    png, svg = leaderboard_picture.save(board, tmp_path)
    with Image.open(png) as picture:
        assert picture.width > 1800
    text = svg.read_text()
    assert text == leaderboard_picture.svg_text(board)
    for words in ("slow", "quick", "seconds of training", "uniform map"):
        assert f">{words}" in text, "words stay words"
    assert "broken" not in text


def test_cost_grows_from_left_to_right(board: Leaderboard) -> None:
    cost, maps, trust = leaderboard_picture.draw(board).axes
    assert trust.get_xlabel() == "answers that another map changes"
    assert cost.get_xlabel().startswith("seconds of training")
    assert not cost.xaxis_inverted() and not maps.xaxis_inverted()


def test_names_do_not_cover_one_another() -> None:
    random = np.random.default_rng(0)
    many = [
        scored(f"mechanism-{i}", 0, q, g, s)
        for i, (q, g, s) in enumerate(random.uniform(0.5, 0.6, size=(24, 3)))
    ]
    figure = leaderboard_picture.draw(leaderboard(many))
    for axes in figure.axes:
        names = [t for t in axes.texts if t.get_text().startswith("mechanism")]
        boxes = [name.get_window_extent() for name in names]
        assert boxes
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_without_any_figures_there_is_still_a_page(tmp_path: Path) -> None:
    nothing = leaderboard([failed("broken")])
    assert "the loss is nan" in page(nothing, "nothing", COMMAND, tmp_path)
    assert leaderboard_picture.save(nothing, tmp_path)[0].is_file()


def test_the_page_stands_alone_and_hides_nothing(board: Leaderboard, tmp_path: Path) -> None:
    text = page(board, "attention on <reviews>", COMMAND, tmp_path)
    assert "{{" not in text
    assert not re.search(r'(src|href)="(https?:)?//', text)
    assert "attention on &lt;reviews&gt;" in text
    assert "the loss is nan at step 3 &lt;stopped&gt;" in text
    assert "1 of 2 failed" in text
    assert len(text) < 500_000


@pytest.mark.skipif(not browser.available(), reason=browser.MISSING)
def test_the_page_in_a_browser(board: Leaderboard, tmp_path: Path) -> None:
    """It sorts, it is readable in light and dark, and it asks the network for nothing."""
    html = tmp_path / "leaderboard.html"
    html.write_text(page(board, "attention on reviews", COMMAND, tmp_path))
    shots = REPOSITORY / "build" / "screenshots"
    with browser.started(tmp_path / "profile") as window:
        window.open(html)
        for dark in (False, True):
            window.dark(dark)
            assert window.run(CONTRAST) >= 4.5
            window.picture(shots / f"leaderboard-{'dark' if dark else 'light'}.png")
        phone = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        window.devtools("Emulation.setDeviceMetricsOverride", phone)
        widths = window.run("return [...document.images].map((image) => image.width)")
        assert len(widths) == 3 and min(widths) > 340, "each panel is as wide as a phone"
        assert window.run("return document.documentElement.scrollWidth") == 400
        right = "return document.querySelector('.scroll').getBoundingClientRect()"
        box = window.run(right)
        picture = Image.open(window.picture(shots / "leaderboard-400.png")).convert("RGB")
        window.run("document.querySelector('.scroll').scrollLeft = 9999")
        ended = Image.open(window.picture(tmp_path / "ended.png")).convert("RGB")
        edge, middle = round(box["right"]) - 2, round(box["top"] + 12)
        paper = picture.getpixel((2, 2))
        assert picture.getpixel((edge, middle)) != paper, "a shadow: there is more to the right"
        assert ended.getpixel((edge, middle)) == paper
        window.devtools("Emulation.clearDeviceMetricsOverride", {})
        assert systems(window) == ["slow", "quick", "beaten", "half", "broken"]
        window.run("document.querySelectorAll('thead button')[5].click()")  # seconds
        assert systems(window) == ["quick", "half", "slow", "beaten", "broken"]
        window.run("document.querySelectorAll('thead button')[5].click()")
        assert systems(window) == ["beaten", "slow", "half", "quick", "broken"]
        assert not window.problems()
        own = (html.as_uri(), "data:", "chrome:", "about:")
        assert all(url.startswith(own) for url in window.requests())


def systems(window: browser.Browser) -> list[str]:
    script = "return [...document.querySelectorAll('#rows th')].map(e => e.firstChild.data.trim())"
    return window.run(script)


# The least contrast of any text with its background, by WCAG 2.
CONTRAST = """
const channel = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parse = (text) => text.match(/[0-9.]+/g).map(Number);
const behind = (e) => {
  for (; e; e = e.parentElement) {
    const colour = parse(getComputedStyle(e).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const ratios = [...document.querySelectorAll("main *, header *")]
  .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) && e.offsetParent)
  .map((e) => {
    const [a, b] = [parse(getComputedStyle(e).color), behind(e)].map(light);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  });
return Math.min(...ratios);
"""


def test_systems_that_chance_may_have_ordered_are_tied() -> None:
    """0.90 and 0.88 of 50 answers lie in one another's interval, 0.5 in neither."""
    scores = {"first": 0.9, "second": 0.88, "third": 0.5, "fourth": 0.1}
    found = leaderboard([scored(name, 0, score, 0.3, 1.0) for name, score in scores.items()])
    assert found.places == [1, 1, 3, 4]
    assert [found.place(i) for i in range(4)] == ["1 tied", "1 tied", "3", "4"]
    stream = StringIO()
    leaderboard_table.show(Console(file=stream, width=120), found, "two")
    assert len(re.findall("1 tied", stream.getvalue())) == 2
    assert page(found, "two", COMMAND, Path()).count(">1 tied<") == 2
