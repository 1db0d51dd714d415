"""The tables of docs/mechanisms.md and docs/glossary.md, from the code: `python -m docs.tables`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

from attnlab.config import combinations
from attnlab.config.section import config_dir
from attnlab.metrics.figures import KNOWN, import_metrics


def parts() -> str:
    """Every kind of every part: what it is, and its settings."""
    rows = []
    for part in combinations.PARTS:
        for kind, schema in combinations.kinds_of(part).items():
            if isinstance(schema.target, str):
                settings = [f"`{name}`" for name in schema.model_fields if name != "kind"]
                rows.append([f"`{part}={kind}`", _described(schema), ", ".join(settings)])
    return _table(["`attention/...`", "is", "settings"], rows)


def mechanisms() -> str:
    """Every named mechanism: its parts, and whose it is."""
    rows = []
    for path in sorted((config_dir() / "attention").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        entries = [entry for entry in yaml.safe_load(text)["defaults"] if entry != "_self_"]
        chosen = {part: kind for entry in entries for part, kind in entry.items()}
        source = text.splitlines()[1].removeprefix("#").strip()
        rows.append([f"`{path.stem}`", *(chosen[part] for part in combinations.PARTS), source])
    return _table(["`attention=`", *combinations.PARTS, "after, or what is special"], rows)


def rules() -> str:
    """What goes with what: for each restriction, the kinds on both sides."""
    rows = []
    for rule in combinations.RULES:
        one = _kinds(rule.part, rule.forms)
        other = _kinds(rule.other, rule.allowed)
        rows.append([f"{rule.part} {one}", f"{rule.other} {other}", rule.reason])
    return _table(["this", "goes with", "because"], rows)


def kernels() -> str:
    """Every kernel: the kinds of each part that it serves, where it runs, and how it works."""
    rows = []
    for name, kernel in combinations.kernels().items():
        serves = [f"{part} {_kinds(part, forms)}" for part, forms in kernel.serves.items()]
        devices = ", ".join(sorted(kernel.devices))
        dropout = "yes" if kernel.drops_weights else "no"
        rows.append([f"`{name}`", "; ".join(serves) or "everything", devices, dropout])
        rows[-1].append(_described(kernel))
    return _table(["`attention.kernel=`", "serves", "on", "drops weights", "how"], rows)


def figures() -> str:
    """Every known figure: what it is, and what uninformed and perfect maps score."""
    import_metrics()
    better = {True: "higher", False: "lower", None: ""}
    rows = []
    for name, figure in sorted(KNOWN.items()):
        if name.endswith("_undefined"):
            continue
        title = f"`{name}` ({figure.note})" if figure.note else f"`{name}`"
        cells = title, figure.help, figure.uniform, figure.perfect, better[figure.higher_is_better]
        rows.append(cells)
    return _table(["figure", "what it is", "uniform", "perfect", "better"], rows)


TABLES: dict[str, Callable[[], str]] = {
    f"mechanism-{table.__name__}": table for table in (parts, mechanisms, rules, kernels)
} | {"metric-figures": figures}
PAGES = Path("docs/mechanisms.md"), Path("docs/glossary.md")


def written(page: str) -> str:
    """A page of the documentation with its tables between their marks as they are now."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        inner = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        text = f"{begin}{table()}\n{end}"
        page = inner.sub(lambda _, text=text: text, page)
    return page


def _kinds(part: str, forms: frozenset[str]) -> str:
    """The package's kinds of a part that have one of these forms."""
    kinds = combinations.kinds_of(part).items()
    return ", ".join(
        kind for kind, schema in kinds if schema.form in forms and isinstance(schema.target, str)
    )


def _described(schema: type) -> str:
    """The documentation of a schema, on one line."""
    return " ".join(inspect.cleandoc(schema.__doc__ or "").split()).replace("|", "\\|")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
