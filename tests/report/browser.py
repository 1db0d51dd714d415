"""A real Chromium for tests, spoken to over the WebDriver protocol (W3C): no library needed."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attnlab.report.page import QUIET, browser

MISSING = "needs chromium and chromedriver on the path"


def available() -> bool:
    return browser() is not None and shutil.which("chromedriver") is not None


class Browser:
    """One window."""

    def __init__(self, address: str, profile: Path) -> None:
        arguments = [*QUIET, "--window-size=1400,1100", f"--user-data-dir={profile}"]
        options = {"args": arguments, "binary": browser()}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        self.address = address
        made = self._post("/session", {"capabilities": {"alwaysMatch": wanted}})
        self.address = f"{address}/session/{made['sessionId']}"

    def open(self, page: Path, fragment: str = "") -> float:
        """Show a page anew; returns the seconds until it is ready."""
        return self.visit(f"{page.absolute().as_uri()}{fragment}")

    def visit(self, address: str) -> float:
        """The same for a page that is served."""
        self._post("/url", {"url": "about:blank"})
        started = time.monotonic()
        self._post("/url", {"url": address})
        self.wait("document.documentElement.dataset.ready === 'yes'")
        return time.monotonic() - started

    def run(self, script: str, *arguments: object) -> Any:
        """The value of a script with `return`."""
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, condition: str, seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition})"):
            late = f"not within {seconds} s: {condition}"
            assert time.monotonic() < end, "\n".join([late, *self.problems()])
            time.sleep(0.03)

    def press(self, keys: str) -> None:
        """Type at whatever has the focus."""
        presses = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._post("/actions", {"actions": [{"type": "key", "id": "keys", "actions": presses}]})

    def point(self, x: float, y: float) -> None:
        """Move the pointer to a place of the window."""
        move = {"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)}
        action = {"type": "pointer", "id": "mouse", "actions": [move]}
        self._post("/actions", {"actions": [action]})

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press at one place of the window and let go at another."""
        moves = [
            {"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)}
            for x, y in (start, end)
        ]
        down, up = ({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp"))
        steps = [moves[0], down, moves[1], up]
        self._post("/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": steps}]})

    def dark(self, on: bool) -> None:
        """As if the reader preferred dark pages."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
        self.devtools("Emulation.setEmulatedMedia", {"features": [feature]})

    def devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        return self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def picture(self, path: Path) -> Path:
        """The whole page as PNG."""
        wide = {"captureBeyondViewport": True, "format": "png"}
        taken = self.devtools("Page.captureScreenshot", wide | {"clip": self._whole()})
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(taken["data"]))
        return path

    def _whole(self) -> dict[str, float]:
        script = "const e = document.documentElement; return [e.clientWidth, e.scrollHeight]"
        width, height = self.run(script)
        return {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}

    def problems(self) -> list[str]:
        """Errors and warnings in the console since the last call."""
        return [entry["message"] for entry in self._post("/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Addresses that were fetched since the last call."""
        entries = self._post("/se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        sent = [m for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [message["params"]["request"]["url"] for message in sent]

    def close(self) -> None:
        self._send("DELETE", "", None)

    def _post(self, path: str, content: dict[str, Any]) -> Any:
        return self._send("POST", path, content)

    def _send(self, method: str, path: str, content: dict[str, Any] | None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"{self.address}{path}", body, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None


@contextmanager
def started(profile: Path) -> Iterator[Browser]:
    """A browser while inside."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(["chromedriver", f"--port={port}", "--log-level=OFF"])
    try:
        _wait_for(port)
        window = Browser(f"http://127.0.0.1:{port}", profile)
        yield window
        window.close()
    finally:
        driver.terminate()
        driver.wait()


def _wait_for(port: int, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < end, "chromedriver does not answer"
            time.sleep(0.05)
