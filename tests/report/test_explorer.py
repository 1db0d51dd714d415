"""The explorer in a real Chromium; what it looked like is kept in build/screenshots."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from attnlab.report.classes import Classes
from attnlab.report.page import ReportedRun, export, page
from attnlab.report.summary import Difference
from tests.report.browser import MISSING, Browser, available, started
from tests.report.reported import reported

pytestmark = pytest.mark.skipif(not available(), reason=MISSING)

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
MAP = "document.querySelector('[data-figure^=map-] svg')"
FORMS = {  # the attended input -> the dataset, and how its page names the drawing
    "text": ("reviews", [], "the text"),
    "alignment": ("dates", [], "queries down"),
    "image": ("canvas", [], "the picture"),
    "boxes": ("canvas", ["dataset.task_view=locate"], "the picture"),
    "masks": ("canvas", ["dataset.task_view=segment"], "the picture"),
    "saliency": ("canvas", ["dataset.task_view=attend"], "the picture"),
    "question": ("questions", [], "the picture"),
    "audio": ("tones", [], "the spectrogram"),
    "items": ("baskets", [], "the text"),
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("profile")) as window:
        yield window


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = reported("dates", heads=(2, 4))
    return written(tmp_path_factory.mktemp("dates") / "page.html", [run])


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = [reported("dates", seed=seed, heads=(1, 2)) for seed in (0, 1)]
    difference = Difference(1, "answer", "exact_match", 0.1, 0.02, 0.18, 0.006)
    return written(tmp_path_factory.mktemp("compared") / "page.html", runs, [difference])


def written(
    path: Path, runs: list[ReportedRun], differences: list[Difference] | None = None
) -> Path:
    path.write_text(page("a title", runs, differences or []), encoding="utf-8")
    return path


def texts(browser: Browser, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
    return browser.run(script, selector)


def current(browser: Browser) -> str:
    return browser.run("return document.querySelector('.list [aria-current=true]').dataset.id")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_input_is_drawn(browser: Browser, tmp_path: Path, form: str):
    dataset, more, says = FORMS[form]
    run = reported(dataset, *more)
    browser.open(written(tmp_path / "page.html", [run]))
    assert browser.run(f"return {MAP}.getAttribute('aria-label')").startswith(says)
    shapes = browser.run(f"return {MAP}.querySelectorAll('rect, image, path').length")
    assert shapes > 10
    browser.picture(SCREENSHOTS / f"{form}.png")
    assert browser.problems() == []


def test_boxes_and_masks_of_gold_and_answer_stand_beside_the_picture(
    browser: Browser, tmp_path: Path
):
    marked = {}
    for view in ("locate", "segment"):
        run = reported("canvas", f"dataset.task_view={view}")
        browser.open(written(tmp_path / "page.html", [run]))
        groups = "[...document.querySelectorAll('[data-figure^=map-] .regions')]"
        marked[view] = browser.run(
            f"return {groups}.map((g) => [...g.children].map((e) => e.tagName + e.textContent))"
        )
    gold, answer = marked["locate"]
    assert [shape for shape in gold if shape.startswith("rect")], "a box"
    assert [f"{said} 0.90" for said in gold if said.startswith("text")] == answer[1::2]
    assert marked["segment"] == [["image"], ["image"]]


def test_classes_stand_in_a_table_and_in_a_confusion_matrix(browser: Browser, tmp_path: Path):
    figures = {"precision": [0.8, 1.0], "recall": [1.0, 0.5], "f1": [0.889, float("nan")]}
    found = Classes(["bad", "good"], [4, 2], figures, np.array([[4, 0], [1, 1]]))
    runs = [reported("reviews", classes=found), reported("reviews", seed=1)]
    browser.open(written(tmp_path / "page.html", runs[:1]))
    cells = texts(browser, "#classes-table tbody tr:last-child > *")
    assert cells == ["good", "2", "1.000", "0.500", "–", "bad (1)"]
    drawn = texts(browser, "[data-figure=confusion] text")
    assert drawn == ["gold ↓  predicted →", *["bad"] * 2, "4", *["good"] * 2, "1", "1"]
    browser.open(written(tmp_path / "page.html", runs))
    assert texts(browser, "#classes-table thead th")[2] == "A precision"
    browser.open(written(tmp_path / "page.html", runs[1:]))
    assert browser.run("return document.getElementById('classes').hidden")
    assert browser.problems() == []


def test_it_opens_fast_is_small_and_asks_for_nothing(browser: Browser, tmp_path: Path):
    run = reported("reviews", "dataset.min_sentences=8", count=200, heads=(2, 4))
    path = written(tmp_path / "page.html", [run])
    assert path.stat().st_size < 10_000_000
    browser.requests()
    assert min(browser.open(path) for _ in range(3)) < 2  # other tests run at the same time
    assert len(texts(browser, ".list li")) == 200
    asked = {u for u in browser.requests() if not u.startswith(("data:", "chrome:", "about:"))}
    assert asked == {path.as_uri()}
    named = re.findall(r"""(?:src|href)=["'](?!#|data:)[^"']*""", path.read_text("utf-8"))
    assert named == []


def test_the_figures_stand_with_intervals_and_controls(browser: Browser, dates: Path):
    browser.open(dates)
    assert texts(browser, ".headline")[0].startswith("60.0 %")
    assert "50.0 % – 70.0 %" in texts(browser, ".headline")[0]
    assert "majority has 20.0 %" in texts(browser, ".sentence")[0]
    assert "uniform map has 0.100" in texts(browser, ".sentence")[1]
    drawn = ["figures-answer", "figures-attention"]
    words = [texts(browser, f"[data-figure={name}] text")[-1] for name in drawn]
    assert words[0] == "│ majority"
    assert words[1].split() == [
        *("│", "uniform", "×", "random", "◇", "permuted", "□", "position", "△", "oracle")
    ]
    shapes = browser.run(
        "return [...document.querySelectorAll('[data-figure=figures-attention] [data-control]')]"
        ".map((path) => path.getAttribute('d').replace(/M[^a-z]*/, ''))"
    )
    assert len(set(shapes[:5])) == 5, "each control has a shape of its own"
    caps = browser.run(
        "const box = document.querySelector('.whisker').getBoundingClientRect();"
        "const dot = document.querySelector('[data-figure] circle').getBoundingClientRect();"
        "return [box.height, dot.height]"
    )
    assert caps[0] > caps[1], "the ends of an interval show beside the dot"
    box = browser.run(
        "const b = document.querySelector('[data-figure=figures-attention] svg')"
        ".getBoundingClientRect(); window.scrollTo(0, 0); return [b.left + 200, b.top + 15]"
    )
    browser.point(*box)
    browser.wait("!document.getElementById('tip').hidden")
    assert "oracle 1.000" in texts(browser, "#tip")[0]
    assert len(texts(browser, "#curves figure")) == 2  # loss of both splits in one


@pytest.mark.parametrize("width", [700, 1100, 1400])
def test_the_closing_figures_leave_no_empty_cell(browser: Browser, dates: Path, width: int):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.devtools("Emulation.setDeviceMetricsOverride", size)
    browser.open(dates)
    areas = browser.run(
        "const frame = document.querySelector('.verdict');"
        "return [frame, ...frame.children].map((e) => e.clientWidth * e.clientHeight)"
    )
    browser.devtools("Emulation.clearDeviceMetricsOverride", {})
    assert len(areas) == 4
    assert sum(areas[1:]) == pytest.approx(areas[0], rel=0.02)  # lines of a pixel between them


@pytest.fixture(params=[1280, 700, 400])
def width(request: pytest.FixtureRequest, browser: Browser) -> Iterator[int]:
    """The window as wide as that of a laptop, a tablet and a phone."""
    size = {"width": request.param, "height": 850, "deviceScaleFactor": 1, "mobile": False}
    browser.devtools("Emulation.setDeviceMetricsOverride", size)
    yield request.param
    browser.devtools("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_opens_at_its_top_and_the_list_scrolls_by_itself(
    browser: Browser, tmp_path: Path, width: int
):
    browser.open(written(tmp_path / "page.html", [reported("dates", count=40)]))
    scrolled = "return [window.scrollY, document.getElementById('list').scrollTop]"
    assert browser.run(scrolled) == [0, 0]
    browser.press("j" * 30)
    page_top, list_top = browser.run(scrolled)
    assert page_top == 0
    assert list_top > 500
    inside = (
        "const list = document.getElementById('list').getBoundingClientRect();"
        "const item = document.querySelector('.list [aria-current=true]').getBoundingClientRect();"
        "return item.top >= list.top - 1 && item.bottom <= list.bottom + 1"
    )
    assert browser.run(inside)
    assert browser.run("return document.documentElement.scrollWidth") <= width


def test_wide_tables_scroll_by_themselves(browser: Browser, tmp_path: Path, width: int):
    runs = [reported("dates", seed=seed) for seed in range(4)]
    found = [Difference(i, "answer", "exact_match", 0.1, 0.02, 0.18, 0.006) for i in (1, 2, 3)]
    browser.open(written(tmp_path / "page.html", runs, found))
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return window.scrollY") == 0


def test_figures_are_explained_with_the_scores_of_controls_here(browser: Browser, dates: Path):
    browser.open(dates)
    assert texts(browser, ".meanings dt") == ["mass on gold"]
    [explained] = texts(browser, ".meanings dd")
    assert explained == (
        "Weight on marked keys, mean over rows; higher is better; "
        "uniform map: 0.100 here; perfect map: 1.000 here"
    )
    box = browser.run(
        "const chart = document.querySelector('[data-figure=figures-attention] svg');"
        "chart.scrollIntoView({block: 'center'}); const box = chart.getBoundingClientRect();"
        "return [box.left + 50, box.top + 12]"
    )
    browser.point(*box)
    browser.wait("!document.getElementById('tip').hidden")
    assert explained in texts(browser, "#tip")[0]


def test_it_says_how_the_run_was_made(browser: Browser, dates: Path, compared: Path):
    browser.open(dates)
    rows = texts(browser, ".provenance tr")
    assert rows == ["commandpython train.py dataset=dates seed=0", "seed0"]
    browser.open(compared)
    assert texts(browser, ".provenance tr") == [
        "AB",
        "commandpython train.py dataset=dates seed=0python train.py dataset=dates seed=1",
        "seed01",
    ]


@pytest.mark.parametrize("dataset", ["dates", "reviews", "canvas", "tones"])
def test_maps_over_training_are_a_film_strip(browser: Browser, tmp_path: Path, dataset: str):
    run = reported(dataset, film=True)
    browser.open(written(tmp_path / "page.html", [run]))
    names = ["step 0", "step 50", "step 100", "step 150", "step 200"]
    pressed = "document.querySelector('.strip [aria-pressed=true]').textContent"
    assert texts(browser, ".strip button") == names
    assert browser.run(f"return {pressed}") == "step 200"  # the last
    assert browser.run("return window.scrollY") == 0
    before = browser.run("return document.querySelector('#film-map svg').outerHTML")
    browser.run("document.querySelector('.strip [aria-pressed=true]').focus()")
    browser.press("\ue012")  # left
    browser.wait(f"{pressed} === 'step 150'")
    browser.wait("document.querySelector('#film-map figcaption').textContent === 'step 150'")
    assert browser.run("return document.activeElement.textContent") == "step 150"
    assert browser.run("return document.querySelector('#film-map svg').outerHTML") != before
    browser.run(
        "const select = document.getElementById('film-example'); select.value = '1';"
        "select.dispatchEvent(new Event('change'))"
    )
    browser.wait("document.querySelectorAll('.strip button').length === 4")
    assert texts(browser, ".strip button") == names[1:]  # this example lacks the first frame
    browser.picture(SCREENSHOTS / f"film-{dataset}.png")
    assert browser.problems() == []


def test_without_maps_over_training_there_is_no_strip(browser: Browser, dates: Path):
    browser.open(dates)
    assert browser.run("return document.getElementById('film').hidden")


def test_where_the_map_is_the_answer_nothing_else_could_change(browser: Browser, tmp_path: Path):
    run = reported("canvas", "dataset.task_view=attend")
    browser.open(written(tmp_path / "page.html", [run]))
    assert texts(browser, ".verdict h3") == ["Is the answer good?", "Is the attention right?"]


def test_pointing_at_a_cell_tells_units_weight_and_gold(browser: Browser, dates: Path):
    browser.open(dates)
    x, y, said = browser.run(
        f"{MAP}.scrollIntoView({{block: 'center'}});"
        f"const cell = {MAP}.querySelectorAll('rect')[0].getBoundingClientRect();"
        f"const labels = [...{MAP}.querySelectorAll('text')].map((t) => t.textContent);"
        "return [cell.left + 5, cell.top + 5, labels]"
    )
    browser.point(x, y)
    browser.wait("!document.getElementById('tip').hidden")
    tip = texts(browser, "#tip")[0]
    assert f"← {said[0]} (1)" in tip
    assert re.search(r"weight 0\.\d{3}   gold [01]\.\d{3}", tip)


def test_keys_alone_are_enough(browser: Browser, dates: Path):
    browser.open(dates)
    ids = browser.run(
        "return [...document.querySelectorAll('.list button')].map(b => b.dataset.id)"
    )
    assert current(browser) == ids[0]
    browser.press("jjj")
    assert current(browser) == ids[3]
    browser.press("k")
    browser.wait(f"document.querySelector('#example h2').textContent === '{ids[2]}'")
    before = browser.run(f"return {MAP}.outerHTML")
    browser.press("v")
    pressed = "document.querySelector('.segmented [aria-pressed=true]').dataset.view"
    browser.wait(f"{pressed} === 'gold'")
    assert browser.run(f"return {MAP}.outerHTML") != before
    browser.press("v")
    browser.wait(f"{pressed} === 'difference'")
    assert "model has more" in texts(browser, "[data-figure^=map-] text")
    browser.press("l")
    browser.wait("document.getElementById('site').value === 'encoder.self.0'")
    browser.press("hh")
    browser.wait("document.getElementById('head').value === '1'")
    browser.press("/")
    assert browser.run("return document.activeElement.id") == "search"
    assert "head=1" in browser.run("return location.hash")


def test_focus_can_be_seen_and_reaches_everything(browser: Browser, dates: Path):
    browser.open(dates)
    seen = set()
    for _ in range(60):
        browser.press("\ue004")  # tab
        name, style = browser.run(
            "const e = document.activeElement; return [e.id || e.dataset.view || e.dataset.id ||"
            " e.dataset.head || e.textContent, getComputedStyle(e).outlineStyle]"
        )
        if browser.run("return document.activeElement === document.body"):  # once round
            break
        assert style != "none", name
        seen.add(name)
    assert {"search", "sort", "filter", "site", "marks", "model", "gold", "SVG", "0"} <= seen


def test_a_head_in_the_overview_opens_its_map(browser: Browser, dates: Path):
    browser.open(dates)
    assert len(texts(browser, ".heads g[role=button]")) == 8
    browser.run("document.querySelectorAll('.heads g[role=button]')[5].focus()")
    browser.press("\ue007")  # enter
    browser.wait("document.getElementById('site').value === 'encoder.self.1'")
    assert browser.run("return document.getElementById('head').value") == "1"
    assert browser.run("return document.querySelector('[data-view=gold]').disabled")
    browser.picture(SCREENSHOTS / "heads.png")


def test_search_filter_and_sort(browser: Browser, dates: Path):
    browser.open(dates)
    run = reported("dates")
    wrong = {e.id for e in run.examples if e.prediction != e.gold}
    shown = "return [...document.querySelectorAll('.list button')].map((b) => b.dataset.id)"
    assert set(browser.run(shown)[: len(wrong)]) == wrong
    browser.open(dates, "#filter=wrong")
    assert set(browser.run(shown)) == wrong
    assert texts(browser, "#count") == [f"{len(wrong)} of {len(run.examples)} examples"]
    browser.open(dates, "#sort=gold")
    masses = [float(s.split("%")[0].strip(" ✓✗")) for s in texts(browser, ".list .state")]
    assert masses == sorted(masses)
    browser.open(dates)
    browser.run("document.getElementById('search').focus()")
    browser.press(run.examples[4].gold)
    browser.wait("document.querySelectorAll('.list button').length < 4")
    assert run.examples[4].id in browser.run(shown)
    browser.press("no such example")
    browser.wait("document.querySelectorAll('.list button').length === 0")


def test_long_inputs_are_tiled(browser: Browser, tmp_path: Path):
    run = reported("dates", "dataset.styles=[full]", "dataset.locales=[pt,es,vi]")
    written(tmp_path / "page.html", [run])
    narrow = {"width": 700, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.devtools("Emulation.setDeviceMetricsOverride", narrow)
    browser.open(tmp_path / "page.html", "#sort=long")
    names = texts(browser, "[data-figure^=map-] svg text[text-anchor=end]")
    rows = len(run.examples[0].queries)
    wide, drawn = browser.run(
        f"return [document.documentElement.scrollWidth, {MAP}.viewBox.baseVal.width]"
    )
    browser.devtools("Emulation.clearDeviceMetricsOverride", {})
    assert len(names) == 2 * rows  # in two tiles, each with the names of its rows
    assert wide <= 700
    assert drawn <= 700


def test_a_thousand_symbols_are_text_that_wraps(browser: Browser, tmp_path: Path):
    run = reported("recall", "dataset.length=1024", count=3)
    browser.open(written(tmp_path / "page.html", [run]))
    assert browser.run(f"return {MAP}.querySelectorAll('text').length") >= 1024
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    browser.picture(SCREENSHOTS / "long.png")


LIGHT = """
const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255)
  .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
"""
FAINT = f"""{LIGHT}
const behind = (e) => {{
  while (getComputedStyle(e).backgroundColor === 'rgba(0, 0, 0, 0)') e = e.parentElement;
  return light(getComputedStyle(e).backgroundColor);
}};
const says = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
return [...document.querySelectorAll('body *:not(script, noscript, option, .tip)')]
  .filter((e) => e.checkVisibility() && !e.disabled && says(e))
  .map((e) => {{
    const style = getComputedStyle(e), drawn = e.namespaceURI.endsWith('svg');
    const paper = behind(drawn ? e.closest('figure') : e);
    return [contrast(light(drawn ? style.fill : style.color), paper), e.textContent.slice(0, 30)];
  }}).filter(([ratio]) => ratio < 4.5);
"""
ON_UNITS = f"""{LIGHT}
const ink = light(getComputedStyle({MAP}.querySelector('text')).fill);
return [...{MAP}.querySelectorAll('rect.unit')]
  .map((unit) => contrast(ink, light(unit.getAttribute('fill'))));
"""


@pytest.fixture(params=["light", "dark"])
def shade(request: pytest.FixtureRequest, browser: Browser) -> Iterator[str]:
    browser.dark(request.param == "dark")
    yield request.param
    browser.dark(False)


def test_contrast_is_that_of_wcag_aa(browser: Browser, compared: Path, shade: str):
    browser.open(compared)
    background = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(18, 22, 27)" if shade == "dark" else "rgb(253, 253, 252)")
    assert browser.run(FAINT) == []
    browser.picture(SCREENSHOTS / f"compared-{shade}.png")


@pytest.mark.parametrize("view", ["model", "difference"])
def test_marked_text_can_be_read(browser: Browser, tmp_path: Path, shade: str, view: str):
    browser.open(written(tmp_path / "page.html", [reported("reviews")]), f"#view={view}")
    ratios = browser.run(ON_UNITS)
    assert len(ratios) > 10
    assert len(set(ratios)) > 5
    assert min(ratios) >= 4.5


def test_runs_stand_side_by_side(browser: Browser, compared: Path):
    browser.open(compared)
    assert len(texts(browser, ".panel figure[data-figure^=map-]")) == 2
    row = " ".join(texts(browser, ".comparison tbody tr")[0].split())
    assert row == "exact match0.6000.700+0.1000.020 to 0.1800.006"
    assert "seed" in texts(browser, ".runs th")
    assert browser.run("return getComputedStyle(document.getElementById('comparison')).display")
    assert {"figures-answer", "curve-loss"} <= set(
        browser.run(
            "return [...document.querySelectorAll('[data-figure]')].map(f => f.dataset.figure)"
        )
    )
    assert browser.problems() == []


def test_figures_are_saved_as_svg_and_png(tmp_path: Path, dates: Path):
    files = export(dates, reported("dates").examples, tmp_path, count=2)
    names = {path.name for path in files}
    assert {"figures-answer.svg", "curve-loss.png"} <= names
    assert len([n for n in names if n.startswith("map-") and n.endswith(".svg")]) == 2
    for path in files:
        if path.suffix == ".svg":
            root = ET.parse(path).getroot()
            assert root.tag == "{http://www.w3.org/2000/svg}svg"
            assert len(list(root.iter())) > 5
            assert "var(" not in path.read_text("utf-8")
        else:
            from matplotlib.image import imread

            picture = imread(path)
            assert picture.shape[1] > 600  # three pixels a unit
            assert picture[..., :3].std() > 0.01  # not blank


def test_the_buttons_save_the_same(browser: Browser, dates: Path, tmp_path: Path):
    browser.devtools(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    browser.open(dates)
    for kind in (0, 1):
        browser.run(
            f"document.querySelectorAll('[data-figure^=map-] .save button')[{kind}].click()"
        )
    name = browser.run("return document.querySelector('[data-figure^=map-]').dataset.figure")
    browser.wait("true")
    deadline = 100
    while deadline and not all((tmp_path / f"{name}.{k}").is_file() for k in ("svg", "png")):
        browser.run("return 0")
        deadline -= 1
    assert (tmp_path / f"{name}.svg").read_text("utf-8").startswith("<svg")
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_data_cannot_break_out_of_the_page(browser: Browser, tmp_path: Path):
    run = reported("reviews", count=3)
    bad = "</script><script>document.title = 'broken'</script><!-- <script>"
    examples = [type(e)(**(vars(e) | {"keys": [bad, *e.keys[1:]]})) for e in run.examples]
    run = type(run)(**(vars(run) | {"examples": examples}))
    browser.open(written(tmp_path / "page.html", [run]))
    assert browser.run("return document.title") == "a title"
    assert bad in json.dumps(texts(browser, "[data-figure^=map-] text"))
