"""What files of one's own look like: the dataset, the task and the command that read them."""

from __future__ import annotations

import csv
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from attnlab.datasets.column_roles import MOST_LABELS, SECOND, Columns, likeliest
from attnlab.datasets.readers.corpora import ConllReader
from attnlab.datasets.readers.files import lines
from attnlab.datasets.readers.rows import FileReader
from attnlab.datasets.readers.tables import SEPARATED, CsvReader, JsonlReader, ParquetReader
from attnlab.errors import UserError

FIRST_LINES = 200  # from which the format of a table is inferred
SAMPLE = 1000  # rows that are read
LONE_BYTE = re.compile(r"\\udc[89a-f]")  # how `repr` writes a byte that is not UTF-8
FEW = 200  # rows of which more than a tenth is held out
MEDIA = {
    "pictures": (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"),
    "sounds": (".wav", ".flac", ".ogg", ".mp3"),
}
PACKED = (".gz", ".bz2", ".xz")
TABLES = (".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".parquet", ".conll")
SPLITS = {"train": r"train(ing)?", "val": r"val|valid|validation|dev", "test": r"test"}


@dataclass
class Proposal:
    """A dataset to start with, and what it is good for."""

    base: str  # the dataset of `conf/` that it fills in
    values: dict[str, Any] = field(default_factory=dict)  # keys of the dataset
    options: dict[str, str] = field(default_factory=dict)  # of its groups: reader -> tsv
    words: list[str] = field(default_factory=list)  # of the command, beside the dataset
    notes: list[str] = field(default_factory=list)  # what was seen

    def answer(self, kind: str, column: str, task: str, note: str) -> None:
        """Say which column answers, and to what task."""
        self.options["answer"], self.values["answer"] = kind, {"column": column}
        self.words.append(f"task={task}")
        self.notes.append(f"answer: '{column}', {note}")


def inspect(path: Path) -> Proposal:
    """Propose how a file, or a folder of files, is read.

    Raises:
        UserError: nothing in it is known; the message says what there is.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    if path.is_file():
        return _table(path)
    files = [each for each in sorted(path.rglob("*")) if each.is_file()]
    kinds = Counter(each.suffix.lower() for each in files)
    for base, suffixes in MEDIA.items():
        fitting = [each for each in files if each.suffix.lower() in suffixes]
        if len(fitting) > len(files) / 2:
            return _media(base, path, fitting)
    tables = [each for each in files if _format(each) in TABLES and each.parent == path]
    tables.sort(key=lambda each: not _is_split("train", each.name))
    if not tables:
        shown = ", ".join(f"{count} {kind or 'others'}" for kind, count in kinds.most_common(4))
        raise UserError(f"{path}: no tables, pictures or sounds, but {shown or 'nothing'}")
    return _table(tables[0])


def _table(path: Path) -> Proposal:
    """A file of rows; those beside it that are named like other splits are these."""
    proposal = Proposal("files", {"folder": str(path.parent), "splits": {"train": path.name}})
    if _is_split("train", path.name):
        for other in sorted(path.parent.iterdir()):
            for split in ("val", "test"):
                if _is_split(split, other.name) and _format(other) == _format(path):
                    proposal.values["splits"].setdefault(split, other.name)
    columns = Columns(list(islice(_reader(path, proposal).read(path), SAMPLE)))
    if not columns.rows:
        raise UserError(f"{path}: no row of it can be read")
    proposal.notes.append(f"columns: {', '.join(columns.names)}")
    if wrong := sum(bool(LONE_BYTE.search(repr(row))) for row in columns.rows):
        remedy = f"iconv -f latin1 -t utf-8 {shlex.quote(str(path))} > NEW_FILE"
        proposal.notes.append(f"{wrong} of {len(columns.rows)} rows are not UTF-8; try: {remedy}")
    user, item, texts = columns.first("user"), columns.first("item"), columns.texts()
    if user and item and user != item:
        _log(proposal, columns, user, item)
    elif texts:
        _texts(proposal, columns, texts)
    source, target = columns.first("text"), columns.first("answer")
    if not proposal.words and source and target and source != target:  # too short for texts
        proposal.values["inputs"] = {"text": source}
        proposal.answer("text", target, "generate", f"is written for '{source}'")
    if not proposal.words:
        shown = "; ".join(f"'{n}' holds {_some(columns.distinct(n))}" for n in columns.names[:6])
        raise UserError(f"{path}: no text with an answer to it: {shown}")
    _hold_out(proposal, len(columns.rows))
    return proposal


def _reader(path: Path, proposal: Proposal) -> FileReader:
    """What reads the rows of a file, by its name and its first lines."""
    kind, packed = _format(path), path.suffix in PACKED
    if kind == ".parquet" and not packed:
        proposal.options["reader"] = "parquet"
        return ParquetReader(batch=SAMPLE)
    first = list(islice(lines(path), FIRST_LINES))
    if kind in (".jsonl", ".ndjson") or (first and first[0].startswith("{")):
        proposal.options["reader"] = "jsonl"
        return JsonlReader()
    fields = Counter(len(line.split()) for line in first if line.strip())
    blank = sum(not line.strip() for line in first)
    if blank > 1 and len(fields) == 1 and 1 < min(fields) <= 10:
        names: list[str | None] = ["word", *(f"column_{n}" for n in range(2, min(fields))), "tag"]
        proposal.options["reader"], proposal.values["reader"] = "conll", {"columns": names}
        return ConllReader(columns=names, separator=None, closing=None, comment=None)
    counts = {each: _cells(first, each) for each in SEPARATED}
    delimiter = max(counts, key=lambda each: counts[each])
    if counts[delimiter] < (0.9, 2):
        raise UserError(f"{path}: no table; its first line is {first[0][:80] if first else ''!r}")
    tabs = delimiter == "\t"
    values: dict[str, Any] = {} if delimiter in ",\t" else {"delimiter": delimiter}
    reader = {"delimiter": delimiter, "quote": None if tabs else '"'}
    if header := _header(next(csv.reader(first[:1], delimiter=delimiter))):
        values["header"] = header
    proposal.options["reader"] = "tsv" if tabs else "csv"
    proposal.values |= {"reader": values} if values else {}
    if tabs and kind != ".tsv":
        proposal.notes.append("separated by tabs, whatever its name says")
    return CsvReader(**reader, header=header)  # type: ignore[arg-type]


def _cells(first: Sequence[str], delimiter: str) -> tuple[float, int]:
    """The share of lines with the commonest number of cells, and that number."""
    rows = list(csv.reader([each for each in first if each], delimiter=delimiter))
    whole = rows[:-1] if len(first) == FIRST_LINES else rows  # a cell may go over many lines
    counts = Counter(map(len, whole))
    cells, often = max(counts.items(), key=lambda each: each[1], default=(0, 0))
    return (often / max(sum(counts.values()), 1) if cells > 1 else 0.0), cells


def _header(cells: Sequence[str]) -> list[str] | None:
    """Names for the columns of a table whose first row has none."""
    named = [re.fullmatch(r"[^\d\W][\w .:/()-]{0,39}", cell.strip()) for cell in cells]
    if all(named) and len(set(cells)) == len(cells) and all(len(c.split()) <= 4 for c in cells):
        return None
    return [f"column_{number}" for number in range(1, len(cells) + 1)]


def _texts(proposal: Proposal, columns: Columns, texts: Sequence[str]) -> None:
    """Find tags, gold, labels, texts or numbers beside a text; the least ambiguous ones first."""
    text, values = texts[0], proposal.values
    values["inputs"] = {"text": text}
    listed = {"lists": "texts"} if columns.lists_texts(text) else {}
    if listed:
        values |= {"sentences": ["text"], "words": listed}
    if tags := columns.tags(text):
        proposal.answer("tags", likeliest("tags", tags), "tag", f"a tag for each word of '{text}'")
        values["words"] = {"split": "spaces"} | listed
        return
    second = next(iter(texts[1:]), None)
    gold = next(columns.gold(text, second), None)
    if gold is not None and gold[1] == second:
        second = next(iter(texts[2:]), None)
    taken = {text, *texts, *([gold[1]] if gold else [])}
    labels = [name for name in columns.labels() if name not in taken]
    numbers = [name for name in columns.numbers() if name not in taken]
    if labels and not (gold and gold[0] == "links"):
        label = likeliest("label", labels)
        proposal.answer("label", label, "classify", f"one of {_some(columns.distinct(label))}")
        if second and re.fullmatch(SECOND, second.lower()):
            values["inputs"]["other"] = second
    elif second is not None:
        answer = likeliest("answer", [each for each in texts[1:] if not gold or each != gold[1]])
        kind = "texts" if columns.lists_texts(answer) else "text"
        proposal.answer(kind, answer, "generate", f"is written for '{text}'")
    elif numbers:
        proposal.answer("number", likeliest("number", numbers), "regress", "a number")
    elif gold is not None:
        proposal.options["answer"] = "none"
        proposal.words += ["task=attend", "objective=unsupervised"]
        proposal.notes.append("no column answers: the map is the answer")
    if gold is not None:
        kind, name, split = gold
        proposal.options["gold"], values["gold"] = kind, {"column": name}
        values["words"] = {"split": split} | listed
        metrics = {"links": "alignment", "scores": "gaze"}.get(kind, "rationale")
        proposal.words.append(f"metrics={metrics}")
        proposal.notes.append(f"gold: '{name}' says where to look ({kind})")


def _log(proposal: Proposal, columns: Columns, user: str, item: str) -> None:
    """Who chose what, and when if that is a number."""
    time = columns.first("time")
    if time is not None and time not in columns.numbers():
        proposal.notes.append(f"'{time}' is no number: rows are taken in their order")
        time = None
    proposal.base, proposal.words = "interactions", ["task=rank"]
    file = proposal.values.pop("splits")["train"]
    proposal.values |= {"file": file, "user": user, "item": item, "time": time}
    lengths = sorted(Counter(str(row.get(user)) for row in columns.rows).values())
    if lengths[len(lengths) // 2] < 5:
        proposal.values["fewest"] = 4
    proposal.notes.append(f"'{user}' chose '{item}'")


def _media(base: str, folder: Path, files: Sequence[Path]) -> Proposal:
    """Pictures or sounds, with the label in the name of their folder or at the begin of theirs."""
    parts = [each.relative_to(folder).parts for each in files]
    depth = len(parts[0])
    ends = sorted({each.suffix for each in files})
    end = ends[0] if len(ends) == 1 else f".{{{','.join(each[1:] for each in ends)}}}"
    labels = {part[-2] if depth > 1 else part[-1].partition("_")[0] for part in parts}
    few = 1 < len(labels) <= max(2, min(MOST_LABELS, len(files) // 3))
    if depth > 3 or not few or any(len(part) != depth for part in parts):
        raise UserError(f"{folder}: {base} without labels; put them in folders, LABEL/NAME{end}")
    splits = {"train": "*/" * (depth - 1) + f"*{end}"}
    for split in SPLITS if depth == 3 else ():
        found = [part[0] for part in parts if re.fullmatch(SPLITS[split], part[0])]
        splits |= {split: f"{found[0]}/*/*{end}"} if found else {}
    pattern = ("{label}/{id}" if depth > 1 else "{label}_{id}") + (end if len(ends) == 1 else "")
    proposal = Proposal(
        base,
        {"folder": str(folder), "splits": splits, "reader": {"pattern": pattern}},
        {},
        ["task=classify"],
        [f"{len(files):,} {base}, one of {_some(sorted(labels))}"],
    )
    proposal.values |= _size(files) if base == "pictures" else _rate(files[0])
    _hold_out(proposal, len(files))
    return proposal


def _size(files: Sequence[Path]) -> dict[str, Any]:
    """The size and colours of pictures, where all are alike and small."""
    from PIL import Image

    sizes, grey = set(), True
    for path in files[:20]:
        # preparing the data counts unreadable pictures as bad rows, and those that are too large
        with suppress(OSError, Image.DecompressionBombError), Image.open(path) as picture:
            sizes.add((picture.height, picture.width))
            grey = grey and picture.mode in ("1", "L")
    if not sizes:
        raise UserError(f"{files[0]}: no picture that can be read, as those beside it")
    (height, width), *others = sizes
    small = not others and max(height, width) <= 96
    return ({"colour": "grey"} if grey else {}) | ({"size": [height, width]} if small else {})


def _rate(path: Path) -> dict[str, Any]:
    """The sample rate of a sound that says so, and frames of ten milliseconds."""
    import wave

    if path.suffix.lower() != ".wav":
        return {}
    try:
        with wave.open(str(path)) as sound:
            rate = sound.getframerate()
    except (wave.Error, EOFError, RuntimeError):
        return {}
    return {"sample_rate": rate, "hop": max(rate // 100, 1)}


def _hold_out(proposal: Proposal, rows: int) -> None:
    """More than a tenth of few rows for validation and testing; nothing where there are files."""
    splits = proposal.values.get("splits", {})
    if rows < FEW:
        splits |= {split: 0.2 for split in ("val", "test") if split not in splits}


def _is_split(split: str, name: str) -> bool:
    return re.match(rf"({SPLITS[split]})(?![a-z])", name.lower()) is not None


def _format(path: Path) -> str:
    """The end of a name that says what a file holds, packed or not."""
    return Path(path.stem if path.suffix in PACKED else path.name).suffix.lower()


def _some(values: Iterable[str]) -> str:
    """A few of them, for people."""
    shown = [value if len(value) <= 24 else f"{value[:21]}..." for value in map(str, values)]
    return ", ".join(shown[:5]) + (f", ... ({len(shown)} in all)" if len(shown) > 5 else "")
