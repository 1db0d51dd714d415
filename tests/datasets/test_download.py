"""Downloads from a server on this machine: whole, broken off, wrong, and not to be trusted."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from attnlab.config.dataset import Download
from attnlab.datasets import download
from attnlab.datasets.download import RECORD, Record, fetch, get
from attnlab.errors import RunError

TEXT = b"one line\nanother line\n" * 5000


class Server(ThreadingHTTPServer):
    """Serves what is in `files`, as the attributes say."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.ranges = True  # whether it can send the rest of a file
        self.breaks: list[int] = []  # bytes after which the next answers break off
        self.asked: list[str | None] = []  # the Range of each request

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        server, asked = self.server, self.headers["Range"]
        server.asked.append(asked)
        content = server.files.get(self.path[1:])
        if content is None:
            return self.send_error(404)
        etag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
        same = self.headers["If-Range"] in (None, etag)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        partial = bool(asked) and server.ranges and same
        if partial and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        rest = content[start:] if partial else content
        self.send_response(206 if partial else 200)
        if partial:
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: server.breaks.pop(0)] if server.breaks else rest)
        return None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def obtain(server: Server, name: str, to: object, data: Path, digest: str | None = None) -> Record:
    record = Record(data / "set")
    get(Download(url=server.url(name), sha256=digest, to=to), data, record, show=False)  # type: ignore[arg-type]
    return record


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def tarred(*members: tarfile.TarInfo, text: bytes = TEXT) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for member in members:
            member.size = len(text) if member.isfile() else 0
            archive.addfile(member, io.BytesIO(text) if member.isfile() else None)
    return content.getvalue()


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return member


def left(data: Path) -> list[str]:
    return sorted(path.name for path in data.rglob("*") if path.is_file())


def test_a_file_is_packed_and_written_down(server: Server, tmp_path: Path) -> None:
    server.files["text.txt"] = TEXT
    digest = hashlib.sha256(TEXT).hexdigest()
    obtain(server, "text.txt", "set/text.txt.gz", tmp_path, digest)
    assert gzip.decompress((tmp_path / "set" / "text.txt.gz").read_bytes()) == TEXT
    assert left(tmp_path) == [RECORD, "text.txt.gz"]
    known = json.loads((tmp_path / "set" / RECORD).read_text())["files"][server.url("text.txt")]
    assert (known["sha256"], known["bytes"]) == (digest, len(TEXT))
    record = Record(tmp_path / "set")
    assert record.changed(tmp_path) == []
    (tmp_path / "set" / "text.txt.gz").write_bytes(b"other")
    assert record.changed(tmp_path) == ["set/text.txt.gz"]


def test_what_broke_off_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.files["text.txt"], server.breaks = TEXT, [1000, 500]
    obtain(server, "text.txt", "set/text.txt", tmp_path)
    assert server.asked == [None, "bytes=1000-", "bytes=1500-"]
    assert (tmp_path / "set" / "text.txt").read_bytes() == TEXT


def test_the_same_command_goes_on_after_too_many_breaks(server: Server, tmp_path: Path) -> None:
    server.files["text.txt"], server.breaks = TEXT, [1000, 500, 300]
    with pytest.raises(RunError) as caught:
        obtain(server, "text.txt", "set/text.txt", tmp_path)
    first, second = str(caught.value).splitlines()
    missing = len(TEXT) - 1800
    assert first.endswith(f"broke off after 1,800 bytes ({missing:,} bytes are missing)")
    assert second == "  the same command goes on from there"
    obtain(server, "text.txt", "set/text.txt", tmp_path)
    assert server.asked[-1] == "bytes=1800-"
    assert (tmp_path / "set" / "text.txt").read_bytes() == TEXT
    assert left(tmp_path) == [RECORD, "text.txt"]


def test_a_server_that_ignores_ranges_sends_all_again(server: Server, tmp_path: Path) -> None:
    server.files["text.txt"], server.breaks, server.ranges = TEXT, [1000], False
    obtain(server, "text.txt", "set/text.txt", tmp_path)
    assert server.asked == [None, "bytes=1000-"]
    assert (tmp_path / "set" / "text.txt").read_bytes() == TEXT


def test_the_beginning_of_another_version_is_not_used(server: Server, tmp_path: Path) -> None:
    server.files["text.txt"], server.breaks = TEXT, [1000, 0, 0]
    with pytest.raises(RunError):
        obtain(server, "text.txt", "set/text.txt", tmp_path)
    server.files["text.txt"] = TEXT.upper()
    obtain(server, "text.txt", "set/text.txt", tmp_path)
    assert (tmp_path / "set" / "text.txt").read_bytes() == TEXT.upper()


def test_a_file_that_is_whole_already_is_not_sent_again(server: Server, tmp_path: Path) -> None:
    server.files["text.txt"] = TEXT
    (tmp_path / "part").write_bytes(TEXT)
    fetch(server.url("text.txt"), tmp_path / "part", show=False)
    assert (tmp_path / "part").read_bytes() == TEXT
    (tmp_path / "part").write_bytes(TEXT * 2)  # of a version that was longer
    fetch(server.url("text.txt"), tmp_path / "part", show=False)
    assert (tmp_path / "part").read_bytes() == TEXT


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.files["text.txt"] = TEXT
    with pytest.raises(RunError, match=f"its checksum is .*, published is {'0' * 64}; it was thr"):
        obtain(server, "text.txt", "set/text.txt", tmp_path, "0" * 64)
    assert left(tmp_path) == []


def test_a_checksum_that_nobody_states_is_known_from_the_first_time(
    server: Server, tmp_path: Path
) -> None:
    server.files["text.txt"] = TEXT
    obtain(server, "text.txt", "set/text.txt", tmp_path)
    (tmp_path / "set" / "text.txt").unlink()
    obtain(server, "text.txt", "set/text.txt", tmp_path)
    server.files["text.txt"] = TEXT + b"more"
    with pytest.raises(RunError, match="of the last download is"):
        obtain(server, "text.txt", "set/text.txt", tmp_path)
    assert (tmp_path / "set" / "text.txt").read_bytes() == TEXT


def test_a_file_that_is_not_there(server: Server, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"/nothing\.txt: 404 Not Found"):
        obtain(server, "nothing.txt", "set/text.txt", tmp_path)
    assert server.asked == [None], "it is asked for once"


def test_nobody_listens(server: Server, tmp_path: Path) -> None:
    url = server.url("text.txt")
    server.shutdown()
    server.server_close()
    with pytest.raises(RunError, match=r"/text\.txt: nothing came \(.*Connection refused\)$"):
        fetch(url, tmp_path / "part", show=False)


TO = {"*/train.txt": "set/train.txt.gz", "*/docs/*": "set/docs.zip/docs/", "*.wav": "set/sounds/"}
FILES = {
    "made-1.0/": b"",
    "made-1.0/train.txt": TEXT,
    "made-1.0/docs/a.txt": b"a",
    "made-1.0/docs/b.txt": b"b",
    "made-1.0/deep/one.wav": b"wave",
    "made-1.0/README": b"not asked for",
}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_files_of_an_archive_go_where_they_are_read(
    kind: str, server: Server, tmp_path: Path
) -> None:
    members = [tarfile.TarInfo(name) for name, text in FILES.items() if text]
    if kind == "zip":
        server.files["made"] = zipped(FILES)
    else:
        server.files["made"] = tarred(*members)
    record = obtain(server, "made", TO, tmp_path)
    folder = tmp_path / "set"
    assert gzip.decompress((folder / "train.txt.gz").read_bytes()) == TEXT
    with zipfile.ZipFile(folder / "docs.zip") as docs:
        assert docs.namelist() == ["docs/a.txt", "docs/b.txt"]
    assert [path.name for path in (folder / "sounds").iterdir()] == ["one.wav"]
    assert left(tmp_path) == ["docs.zip", RECORD, "one.wav", "train.txt.gz"]
    assert record.changed(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (zipped({"../../train.txt": TEXT}), r"'../../train.txt', which leads out of it"),
        (zipped({"/tmp/train.txt": TEXT}), "leads out of it"),
        (zipped({"a\\..\\..\\train.txt": TEXT}), "leads out of it"),
        (tarred(tarfile.TarInfo("x/../../train.txt")), "leads out of it"),
        (tarred(link("x/train.txt", tarfile.SYMTYPE)), "a link 'x/train.txt'"),
        (tarred(link("x/train.txt", tarfile.LNKTYPE)), "a link 'x/train.txt'"),
        (zipped({"x/test.txt": TEXT}), r"no file '\*/train.txt' in the archive"),
        (b"no archive at all", "damaged, or no archive"),
        (zipped({"x/train.txt": TEXT})[:-30], "damaged, or no archive"),
    ],
    ids=["up", "absolute", "windows", "tar", "symlink", "hardlink", "absent", "text", "cut"],
)
def test_an_archive_that_is_not_to_be_trusted_leaves_nothing(
    content: bytes, problem: str, server: Server, tmp_path: Path
) -> None:
    server.files["made.zip"] = content
    with pytest.raises(RunError, match=problem):
        obtain(server, "made.zip", {"*/train.txt": "set/train.txt"}, tmp_path)
    assert left(tmp_path) == []


def test_an_archive_that_grows_without_end_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "LARGEST", 1 << 16)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/train.txt", b"0" * (1 << 20))
    server.files["bomb.zip"] = content.getvalue()
    with pytest.raises(
        RunError, match=f"/bomb.zip: an archive of more than {0} GiB; it was thrown away"
    ):
        obtain(server, "bomb.zip", {"*/train.txt": "set/train.txt"}, tmp_path)
    monkeypatch.setattr(download, "MOST_FILES", 2)
    server.files["many.zip"] = zipped({f"x/{number}": b"" for number in range(3)})
    with pytest.raises(RunError, match="more than 2 files"):
        obtain(server, "many.zip", {"*/train.txt": "set/train.txt"}, tmp_path)
