"""The page of `attnlab label --page`: a person marks maps and chooses answers in a browser.

The page is served to this machine alone. Each change is checked as training will check it, and
the whole file is written anew, so that nothing is lost when the page or the command is closed.
"""

from __future__ import annotations

import html
import json
import secrets
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from attnlab.data.annotations import Annotation, corrected, new_example
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.target import IDENTITY
from attnlab.errors import UserError
from attnlab.report.examples import attended_content, queries_of
from attnlab.report.page import asset, fill_template, in_script
from attnlab.report.rendering import sound_address
from attnlab.text_files import write_whole

HOST = "127.0.0.1"
LONGEST = 1 << 20  # bytes of one change
CHANGED = ("answer", "map", "seconds")
ALLOWED = "script-src 'unsafe-inline'; img-src data:; media-src data:; connect-src 'self'"
SCRIPTS = ("explorer/theme.js", "explorer/svg.js", "labelling.js")


class LabelFile:
    """The lines that are filled in, and the examples that they are about."""

    def __init__(self, path: Path, known: Mapping[str, Example], codec: Codec) -> None:
        self.path, self.codec = path, codec.with_layout(IDENTITY)  # gold is of the data's units
        self.lines: list[dict[str, Any]] = [json.loads(text) for text in _lines(path)]
        self.examples = [self._example(line, known) for line in self.lines]
        self._one_at_a_time = threading.Lock()

    def _example(self, line: dict[str, Any], known: Mapping[str, Example]) -> Example:
        name = str(line.get("id"))
        if name in known:
            return known[name]
        if not line.get("inputs"):
            raise UserError(
                f"--output: {self.path}: the run has no example '{name}' without a gold map; "
                "try: another --output"
            )
        return new_example(Annotation.model_validate(line))

    @property
    def labelled(self) -> int:
        """How many lines have a map."""
        return sum(line.get("map") is not None for line in self.lines)

    def change(self, number: int, content: Any) -> None:
        """Fill in a line and write the file.

        Raises:
            UserError: training would refuse the line.
        """
        try:
            changes = TypeAdapter(dict[str, Any]).validate_python(content)
            changed = self.lines[number] | {k: changes[k] for k in CHANGED if k in changes}
            line = Annotation.model_validate_json(json.dumps(changed))
        except ValidationError as error:
            raise UserError(str(error.errors()[0]["msg"])) from None
        corrected(self.examples[number], line, self.codec.form)
        with self._one_at_a_time:
            self.lines[number] = changed
            texts = (json.dumps(each, ensure_ascii=False) for each in self.lines)
            write_whole(self.path, "".join(f"{text}\n" for text in texts))

    def shown(self) -> list[dict[str, Any]]:
        """What the page draws of each example."""
        return [self._shown(example) for example in self.examples]

    def _shown(self, example: Example) -> dict[str, Any]:
        content = attended_content(example, self.codec)
        kind = "picture" if content["picture"] else "sound" if content["spectrum"] else "text"
        sound: Any = self.codec.inputs[example.attended]
        value: Any = example.inputs[example.attended]
        return content | {
            "kind": kind,
            "keys": content["keys"] if kind == "text" else [],
            "rows": self._rows(example),
            "frames": len(content["spectrum"][0]) if kind == "sound" else 0,
            "sound": sound_address(value, sound.sample_rate) if kind == "sound" else None,
        }

    def _rows(self, example: Example) -> list[str]:
        """Of the gold map; none where they are words of an answer that nobody has written yet."""
        if example.answer is None:
            return [""] if self.codec.answers.whole else []
        return queries_of(example, self.codec)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


class LabelServer(ThreadingHTTPServer):
    """Serves the page, and takes its changes."""

    daemon_threads = True

    def __init__(self, file: LabelFile, port: int, following: str) -> None:
        """Bind to a port; 0 takes one that is free. `following` is the command to go on with."""
        self.file, self.following = file, following
        self.token = secrets.token_urlsafe(16)  # no other page of the browser knows it
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UserError(f"--port: {port} cannot be used ({error}); try: --port 0") from None

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def page(self) -> str:
        """The HTML, with the lines as they stand now."""
        file = self.file
        data = {
            "file": str(file.path.absolute()),
            "lines": [dict.fromkeys(CHANGED) | line for line in file.lines],
            "examples": file.shown(),
            "choices": list(file.codec.answers.named_choices()),
            "token": self.token,
            "next": self.following,
        }
        parts = {
            "allowed": ALLOWED,
            "style": asset("explorer/style.css") + asset("labelling.css"),
            "script": "\n".join(asset(name) for name in SCRIPTS),
            "title": html.escape(f"Where to look: {file.path.name}"),
            "data": in_script(json.dumps(data, ensure_ascii=False)),
        }
        return fill_template("labelling.html", parts)


class _Handler(BaseHTTPRequestHandler):
    server: LabelServer  # type: ignore[assignment]  # the only one that it is made for

    def do_GET(self) -> None:
        if not self._is_for_us() or self.path != "/":
            self._answer(HTTPStatus.NOT_FOUND, "no such page")
        else:
            self._answer(HTTPStatus.OK, self.server.page(), "text/html")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        _, _, number = self.path.partition("/lines/")
        if not self._is_for_us() or self.headers.get("X-Attnlab-Token") != self.server.token:
            return self._answer(HTTPStatus.FORBIDDEN, "not from this page: reload it")
        if not number.isdecimal() or int(number) >= len(self.server.file.lines):
            return self._answer(HTTPStatus.NOT_FOUND, "no such line")
        if not length.isdecimal() or int(length) > LONGEST:
            return self._answer(HTTPStatus.BAD_REQUEST, "too long")
        try:
            self.server.file.change(int(number), json.loads(self.rfile.read(int(length))))
        except (UserError, ValueError, TypeError, OSError) as error:
            return self._answer(HTTPStatus.BAD_REQUEST, str(error))
        return self._answer(HTTPStatus.OK, "")

    def _is_for_us(self) -> bool:
        """Not so if a page of another name was let to point here."""
        port = self.server.server_address[1]
        return self.headers.get("Host") in (f"{HOST}:{port}", f"localhost:{port}")

    def _answer(self, status: HTTPStatus, text: str, kind: str = "text/plain") -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing: the terminal is for what the command has to say."""


def serve(server: LabelServer) -> None:
    """Until Ctrl-C."""
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
