"""What pages look like, beside small pictures of what they looked like.

Where a page is meant to look different: `python -m tests.report.test_screenshots`, and look at the
pictures that `git diff` names. They are an eighth of the size, so that neither the smoothing of
letters nor a pixel matters, and what is missing, shifted, too large or of another colour does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from attnlab.report.leaderboard import leaderboard
from attnlab.report.leaderboard_page import page as leaderboard_page
from attnlab.report.page import page
from attnlab.report.summary import Difference
from tests.report.browser import MISSING, Browser, available, started
from tests.report.reported import reported
from tests.report.test_leaderboard import COMMAND, entries

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not available(), reason=MISSING)]

KEPT = Path(__file__).with_name("screenshots")
SMALLER = 8
UNLIKE = 16  # of 255: a part of the page of 8 x 8 pixels that differs so much is another one
FEW = 0.002  # of all parts may be: letters that another font draws elsewhere

Pixels = npt.NDArray[np.float32]


def compared() -> str:
    runs = [reported("dates", seed=seed, heads=(1, 2)) for seed in (0, 1)]
    return page("Two runs", runs, [Difference(1, "answer", "exact_match", 0.1, 0.02, 0.18, 0.006)])


PAGES: dict[str, Callable[[], str]] = {
    "text": lambda: page("Reviews", [reported("reviews", film=True)], []),
    "alignment": lambda: page("Dates", [reported("dates", heads=(2, 4))], []),
    "image": lambda: page("Digits", [reported("canvas")], []),
    "audio": lambda: page("Tones", [reported("tones")], []),
    "comparison": compared,
    "leaderboard": lambda: leaderboard_page(
        leaderboard(entries()), "attention on reviews", COMMAND, Path()
    ),
}


def screenshots(window: Browser, name: str, folder: Path) -> Iterator[tuple[str, Pixels]]:
    """The page in each width and shade, smaller."""
    html = folder / f"{name}.html"
    html.write_text(PAGES[name](), encoding="utf-8")
    for width in (1280, 400):
        for shade in ("light", "dark"):
            window.dark(shade == "dark")
            yield f"{name}-{width}-{shade}", screenshot(window, html, width)


def screenshot(window: Browser, html: Path, width: int) -> Pixels:
    """A page in a window of this width, smaller."""
    size = {"width": width, "height": 850, "deviceScaleFactor": 1, "mobile": False}
    window.devtools("Emulation.setDeviceMetricsOverride", size)
    window.open(html)
    whole = Image.open(window.picture(html.with_suffix(".png"))).convert("RGB")
    return np.asarray(whole.reduce(SMALLER), np.float32)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("profile")) as window:
        yield window


@pytest.mark.parametrize("name", PAGES)
def test_pages_look_as_they_did(browser: Browser, tmp_path: Path, name: str) -> None:
    for picture, now in screenshots(browser, name, tmp_path):
        before = np.asarray(Image.open(KEPT / f"{picture}.png").convert("RGB"), np.float32)
        assert abs(len(now) - len(before)) <= 1, f"{picture}: it is longer or shorter"
        rows = min(len(now), len(before))
        differs = np.abs(now[:rows] - before[:rows]).max(-1) > UNLIKE
        assert differs.mean() <= FEW, f"{picture}: {differs.mean():.2%} of it, see {KEPT}"


def test_a_change_would_be_seen(browser: Browser, tmp_path: Path) -> None:
    """Without one of its sections a page looks different."""
    pictures = screenshots(browser, "text", tmp_path)
    html = tmp_path / "text.html"
    _, before = next(pictures)
    html.write_text(html.read_text().replace("<main>", "<main><style>#curves{opacity:0}</style>"))
    now = screenshot(browser, html, 1280)
    assert (np.abs(now - before).max(-1) > UNLIKE).mean() > FEW


def keep() -> None:
    """Take all pictures anew."""
    KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, started(Path(folder, "profile")) as window:
        for name in PAGES:
            for picture, pixels in screenshots(window, name, Path(folder)):
                Image.fromarray(pixels.astype(np.uint8)).save(
                    KEPT / f"{picture}.png", optimize=True
                )


if __name__ == "__main__":
    keep()
