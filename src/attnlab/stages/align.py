"""`attnlab align EN FR`: which word of a sentence comes from which word of its translation.

Line i of one file is the translation of line i of the other; words stand between spaces. Nothing
else is needed: the links are learned from the sentence pairs alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from attnlab.alignment.aligner import Aligner, Maps, load, save
from attnlab.alignment.bitext import Sentence
from attnlab.alignment.config import AlignerSettings
from attnlab.alignment.config import load as load_settings
from attnlab.alignment.learning import learn
from attnlab.data.target import AttentionTarget
from attnlab.datasets.readers.files import digest, lines, missing
from attnlab.datasets.targets import Links, alignment_target, parse_pharaoh, pharaoh
from attnlab.errors import UserError

COMMAND = "align the words of sentence pairs"

EXAMPLES = """examples:
  attnlab align en.txt fr.txt                      learn from these pairs, and align them
  attnlab align en.txt.gz fr.txt.gz --test test.en test.fr --gold test.align
                                                   judge on other pairs, learned from as well
  attnlab align new.en new.fr --model FOLDER       align with what was learned before
  attnlab align en.txt fr.txt --symmetrise grow-diag-final-and hmm_rounds=8
                                                   conf/aligner.yaml has every key
"""


@dataclass(frozen=True)
class Text:
    """Sentence pairs as they were read."""

    name: str  # what its files are called
    files: tuple[Path, Path]
    sources: Sequence[Sentence]
    targets: Sequence[Sentence]

    @classmethod
    def read(cls, name: str, source: str, target: str) -> Text:
        files = existing(source, name), existing(target, name)
        sources, targets = ([line.split() for line in lines(path)] for path in files)
        if len(sources) != len(targets):
            raise UserError(
                f"{source} has {len(sources)} lines, {target} has {len(targets)}; "
                "line i of one has to be the translation of line i of the other"
            )
        if not any(s and t for s, t in zip(sources, targets, strict=True)):
            raise UserError(f"{source}, {target}: no line has words in both")
        return cls(name, files, sources, targets)

    def lengths(self) -> list[tuple[int, int]]:
        """Words of each pair: source, target."""
        return [(len(s), len(t)) for s, t in zip(self.sources, self.targets, strict=True)]


def main(arguments: list[str]) -> None:
    """Learn or load, align, write, and judge where there is gold."""
    options = _parser().parse_intermixed_args(arguments)
    chosen = [f"symmetrise={options.symmetrise}"] if options.symmetrise else []
    learned = load(options.model) if options.model else None
    settings = load_settings([*options.settings, *chosen], learned and learned.settings)
    texts = [Text.read("text", options.source, options.target)]
    texts += [Text.read("test", *options.test)] if options.test else []
    gold = (
        read_gold(Path(options.gold), options.base, texts[-1].lengths()) if options.gold else None
    )
    output = options.out or Path("runs") / "align" / time.strftime("%Y%m%d-%H%M%S")

    start = time.perf_counter()
    aligner = replace(learned, settings=settings) if learned else learn_from(texts, settings)
    seconds = time.perf_counter() - start
    maps = [align(aligner, text, output) for text in texts][-1]
    written = [] if learned else [save(aligner, output)]
    if gold is not None:
        from attnlab.stages.align_scores import save_figures, scores, show

        figures = scores(maps, gold, settings)
        show(figures, settings.symmetrise)
        files = [file for text in texts for file in text.files]
        written.append(save_figures(figures, output, seconds, digest([*files, Path(options.gold)])))
    for path in (*(p for text in texts for p in output_paths(output, text, settings)), *written):
        print(path)


def learn_from(texts: Sequence[Text], settings: AlignerSettings) -> Aligner:
    """An aligner from all the texts: no gold is looked at, so those that test may be among them."""
    sources = [sentence for text in texts for sentence in text.sources]
    targets = [sentence for text in texts for sentence in text.targets]
    _say(f"learning from {len(sources)} pairs")
    return learn(sources, targets, settings, _say)


def align(aligner: Aligner, text: Text, folder: Path) -> list[Maps]:
    """Write the links of a text, in both directions and as one; returns its maps."""
    _say(f"aligning {len(text.sources)} pairs of the {text.name}")
    settings = aligner.settings
    left_out = sum(not 0 < min(n) <= max(n) <= settings.longest for n in text.lengths())
    if left_out:
        _say(f"{left_out} without links: no words on a side, or more than {settings.longest}")
    maps = [Maps.nothing(*lengths) for lengths in text.lengths()]
    for row, found_maps in aligner.maps(text.sources, text.targets):
        maps[row] = found_maps
    folder.mkdir(parents=True, exist_ok=True)
    forward, backward, both = output_paths(folder, text, settings)
    directed = [each.directed() for each in maps]
    _write(forward, (links for links, _ in directed))
    _write(backward, (links for _, links in directed))
    _write(both, (each.links(settings.symmetrise, settings.threshold) for each in maps))
    return maps


def output_paths(folder: Path, text: Text, settings: AlignerSettings) -> list[Path]:
    """Where the links of a text go: of each direction, and of both as one."""
    names = ("forward", "backward", settings.symmetrise)
    return [folder / f"{text.name}.{name}.align" for name in names]


def read_gold(
    path: Path, base: Literal[0, 1], lengths: Sequence[tuple[int, int]]
) -> list[AttentionTarget]:
    """Sure and possible links of each pair, checked against the words there are."""
    rows = list(lines(existing(path, "--gold")))
    if len(rows) != len(lengths):
        raise UserError(f"--gold: {path} has {len(rows)} lines for {len(lengths)} sentence pairs")
    gold: list[AttentionTarget] = []
    for number, (row, (sources, targets)) in enumerate(zip(rows, lengths, strict=True), start=1):
        try:
            links = parse_pharaoh(row, base)
            gold.append(alignment_target(links, sources, targets, keys="source"))
        except ValueError as error:
            raise UserError(f"--gold: {path}, line {number}: {error}") from None
    return gold


def existing(file: str | Path, key: str) -> Path:
    """The file, if there is one."""
    path = Path(file)
    if not path.parent.is_dir():
        raise UserError(f"{key}: no folder {path.parent}")
    if not path.is_file():
        raise missing(path, key)
    return path


def _write(path: Path, links: Iterable[Links]) -> None:
    path.write_text("".join(f"{pharaoh(each)}\n" for each in links), encoding="utf-8")


def _say(what: object) -> None:
    print(what, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attnlab align",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help="sentences, one a line; .gz, .bz2 and .xz are unpacked")
    parser.add_argument("target", help="their translations, line by line")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="see conf/aligner.yaml")
    parser.add_argument(
        "--test", nargs=2, metavar=("SOURCE", "TARGET"), help="more pairs, which gold is about"
    )
    parser.add_argument(
        "--gold",
        metavar="FILE",
        help="links `0-0 1p2` (p: only possible) of --test, or of the text",
    )
    parser.add_argument(
        "--base", type=int, choices=(0, 1), default=0, help="where gold begins to count (0)"
    )
    parser.add_argument("--symmetrise", metavar="HOW", help="the same as symmetrise=HOW")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="learned before: do not learn")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where files go (runs/align/...)"
    )
    return parser
