"""Downloads of data: resumed where they broke off, checked, unpacked without trust in the archive.

What was downloaded is written down in `downloads.json` beside the data: where from, its checksum
and those of the files that it became. A checksum that no publisher states is known from then on.
"""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import json
import shutil
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from attnlab.config.dataset import Download
from attnlab.data.integrity import file_hash
from attnlab.errors import RunError
from attnlab.text_files import write_whole

RECORD = "downloads.json"
TIMEOUT = 30  # seconds without a byte
TRIES = 3  # a connection that breaks off is taken up again
CHUNK = 1 << 20
LARGEST = 4 << 30  # bytes that an archive may unpack to
MOST_FILES = 200_000  # of an archive
BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError, zipfile.BadZipFile)


class Record:
    """What was downloaded into one folder, and which licences were shown."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / RECORD
        there = json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
        self.files: dict[str, Any] = there.get("files", {})  # by URL
        self.licences: list[str] = there.get("licences", [])

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"licences": self.licences, "files": self.files}
        write_whole(self.path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def changed(self, data: Path) -> list[str]:
        """Files, below the folder of raw data, that are no longer what was downloaded."""
        known = {
            path: digest for each in self.files.values() for path, digest in each["to"].items()
        }
        return [p for p, d in known.items() if (data / p).is_file() and sha256(data / p) != d]


def get(download: Download, data: Path, record: Record, show: bool = True) -> None:
    """Download one file and put what is in it where it belongs.

    Args:
        download: where from, and where to.
        data: the folder of raw data.
        record: of the folder that it goes to; is added to.
        show: a progress bar, where there is a terminal.

    Raises:
        RunError: it cannot be had, or is not what it should be. What came stays for the next try.
    """
    url = download.url
    part = record.path.parent / f".{hashlib.sha256(url.encode()).hexdigest()[:16]}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    fetch(url, part, show)
    digest = sha256(part)
    known = record.files.get(url, {}).get("sha256")
    for expected, whose in ((download.sha256, "published"), (known, "of the last download")):
        if expected is not None and digest != expected:
            part.unlink()
            raise RunError(
                f"{url}: its checksum is {digest}, {whose} is {expected}; it was thrown away"
            )
    try:
        with unpacked(part, download, data) as placed:
            made = {place: sha256(draft) for place, draft in placed.items()}
            for place, draft in placed.items():
                draft.replace(data / place)
    except (RunError, *BROKEN) as error:
        part.unlink()
        damage = "" if isinstance(error, RunError) else "damaged, or no archive: "
        raise RunError(f"{url}: {damage}{error}; it was thrown away") from None
    size, today = part.stat().st_size, time.strftime("%Y-%m-%d")
    record.files[url] = {"sha256": digest, "bytes": size, "date": today, "to": made}
    record.save()
    part.unlink()
    part.with_suffix(".etag").unlink(missing_ok=True)


def fetch(url: str, part: Path, show: bool = True) -> None:
    """Download a file, or the rest of one whose beginning is there."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), disable=not show, transient=True) as bar:
        task = bar.add_task(PurePosixPath(url).name, total=None)
        for remaining in reversed(range(TRIES)):
            try:
                _rest(url, part, lambda done, total: bar.update(task, completed=done, total=total))
                return
            except HTTPError as error:
                raise RunError(f"{url}: {error.code} {error.reason}") from None
            except (OSError, HTTPException) as error:
                if not remaining:
                    size = part.stat().st_size if part.is_file() else 0
                    reason = getattr(error, "reason", None) or error or type(error).__name__
                    if not size:
                        raise RunError(f"{url}: nothing came ({reason})") from None
                    raise RunError(
                        f"{url}: broke off after {size:,} bytes ({reason})"
                        "\n  the same command goes on from there"
                    ) from None


def _rest(url: str, part: Path, tell: Any) -> None:
    """One request; what comes is added to the file, or replaces it where the server says so."""
    have = part.stat().st_size if part.is_file() else 0
    mark = part.with_suffix(".etag")  # of the version that the beginning is of
    request = Request(url, headers={"User-Agent": "attnlab", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if mark.is_file():
            request.add_header("If-Range", mark.read_text())
    try:
        response = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == 416 and have:  # there is no rest: it is whole, or another file by now
            whole = error.headers.get("Content-Range", "").rpartition("/")[2]
            if whole == str(have):
                return
            part.unlink()
            _rest(url, part, tell)
            return
        raise
    with response:
        goes_on = response.status == 206
        if goes_on and not response.headers["Content-Range"].startswith(f"bytes {have}-"):
            part.unlink()
            raise OSError("the server sent another part than it was asked for")
        etag = response.headers.get("ETag", "")
        if etag and not etag.startswith("W/"):
            mark.write_text(etag)
        else:
            mark.unlink(missing_ok=True)
        done = have if goes_on else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        with part.open("ab" if goes_on else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                if done > LARGEST:
                    raise RunError(f"{url}: larger than {LARGEST >> 30} GiB")
                tell(done, total)
    if total is not None and done < total:
        raise OSError(f"{total - done:,} bytes are missing")
    mark.unlink(missing_ok=True)


@contextmanager
def unpacked(part: Path, download: Download, data: Path) -> Iterator[dict[str, Path]]:
    """What a download becomes, in drafts beside where it belongs: place -> draft."""
    drafts: dict[str, Path] = {}
    for place in download.places:
        target = data / place
        target.parent.mkdir(parents=True, exist_ok=True)
        drafts[place] = target.with_name(f".{target.name}.part")
    try:
        if isinstance(download.to, str):
            packed = PurePosixPath(download.url).suffix == ".gz"
            with part.open("rb") as source, _opened(drafts[download.to], packed) as target:
                shutil.copyfileobj(source, target, CHUNK)
        else:
            _unpack(part, download.to, drafts)
        yield drafts
    finally:
        for draft in drafts.values():
            if draft.is_dir():
                shutil.rmtree(draft)
            draft.unlink(missing_ok=True)


def _unpack(archive: Path, to: Mapping[str, str], drafts: Mapping[str, Path]) -> None:
    """Copy the files of an archive that fit a pattern; only the last part of their names counts."""
    used, size = set(), 0
    with ExitStack() as stack:
        zips: dict[Path, zipfile.ZipFile] = {}
        for number, (name, source) in enumerate(_members(archive)):
            if number >= MOST_FILES:
                raise RunError(f"an archive with more than {MOST_FILES:,} files")
            pattern = next((each for each in to if fnmatch.fnmatchcase(name, each)), None)
            if pattern is None:
                continue
            used.add(pattern)
            before, zipped, inner = to[pattern].partition(".zip/")
            file = PurePosixPath(name).name
            with source() as content:
                if zipped:
                    draft = drafts[f"{before}.zip"]
                    if draft not in zips:
                        method = zipfile.ZIP_DEFLATED
                        zips[draft] = stack.enter_context(zipfile.ZipFile(draft, "w", method))
                    target: Any = zips[draft].open(f"{inner}{file}", "w", force_zip64=True)
                elif to[pattern].endswith("/"):
                    folder = drafts[to[pattern]]
                    folder.mkdir(exist_ok=True)
                    target = (folder / file).open("wb")
                else:
                    target = _opened(drafts[to[pattern]], packed=name.endswith(".gz"))
                with target:
                    while chunk := content.read(CHUNK):
                        size += len(chunk)
                        if size > LARGEST:
                            raise RunError(f"an archive of more than {LARGEST >> 30} GiB")
                        target.write(chunk)
    for pattern in to:
        if pattern not in used:
            raise RunError(f"no file '{pattern}' in the archive")


def _members(archive: Path) -> Iterator[tuple[str, Any]]:
    """Every file of a .zip or .tar by its name, and what opens it."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                link = info.external_attr >> 28 == 0xA
                if _harmless(info.filename, link) and not info.is_dir():
                    yield info.filename, lambda info=info: opened.open(info)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if _harmless(member.name, member.issym() or member.islnk()) and member.isfile():
                yield member.name, lambda member=member: tar.extractfile(member)


def _harmless(name: str, link: bool) -> bool:
    """A name that leads out of its folder, or a link, is a reason to keep nothing of an archive."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name or "\0" in name:
        raise RunError(f"an archive with a file '{name}', which leads out of it")
    if link:
        raise RunError(f"an archive with a link '{name}'")
    return True


def _opened(draft: Path, packed: bool) -> IO[bytes]:
    """A file to write to, packed on the way if its name ends in .gz and its content is not yet."""
    if draft.name.endswith(".gz.part") and not packed:
        return gzip.GzipFile(draft, "wb", mtime=0)  # type: ignore[return-value]
    return draft.open("wb")


def sha256(path: Path) -> str:
    """Checksum of a file, or of the files of a folder."""
    if path.is_dir():
        files = sorted(each for each in path.iterdir() if each.is_file())
        return hashlib.sha256("".join(sha256(each) for each in files).encode()).hexdigest()
    return file_hash(path)
