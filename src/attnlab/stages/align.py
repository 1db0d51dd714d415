"""`attnlab align EN FR`: which word of a sentence comes from which word of its translation.

Line i of one file is the translation of line i of the other; words stand between spaces. Nothing
else is needed: the links are learned from the sentence pairs alone. With `--encoder` nothing is
learned: words are linked whose states in a pretrained encoder are alike.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from attnlab.alignment.aligner import Aligner, load, save
from attnlab.alignment.bitext import Sentence
from attnlab.alignment.config import AlignerSettings, Symmetrisation
from attnlab.alignment.config import load as load_settings
from attnlab.alignment.learning import learn
from attnlab.alignment.maps import Aligns, Maps
from attnlab.datasets.readers.config import Split
from attnlab.datasets.readers.files import digest, lines, missing
from attnlab.datasets.readers.words import WORD
from attnlab.datasets.targets import Links, pharaoh
from attnlab.errors import UserError
from attnlab.stages.align_gold import read_gold

NAMED = 10  # lines without links that are named
MOST_LOOKED_AT, LONG = 10_000, 3  # words by which a script is known; characters of a long one

COMMAND = "align the words of sentence pairs"

EXAMPLES = """examples:
  attnlab align en.txt fr.txt                      learn from these pairs, and align them
  attnlab align en.txt.gz fr.txt.gz --test test.en test.fr --gold test.align
                                                   evaluate on other pairs, learned from as well
  attnlab align new.en new.fr --model FOLDER       align with what was learned before
  attnlab align en.txt zh.txt words.split=unspaced each Chinese character is a word
  attnlab align en.txt fr.txt --encoder NAME       by the states of a pretrained encoder
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
    def read(cls, name: str, source: str, target: str, split: Split = "spaces") -> Text:
        files = existing(source, name), existing(target, name)
        sources, targets = ([WORD[split].findall(line) for line in lines(path)] for path in files)
        if len(sources) != len(targets):
            raise UserError(
                f"{source} has {len(sources)} lines, {target} has {len(targets)}; "
                "line i of one has to be the translation of line i of the other"
            )
        if not any(s and t for s, t in zip(sources, targets, strict=True)):
            raise UserError(f"{source}, {target}: no line has words in both")
        if split == "spaces":
            for file, sentences in zip(files, (sources, targets), strict=True):
                if _without_spaces(sentences):
                    _say(f"{file}: written without spaces? try: words.split=unspaced")
        return cls(name, files, sources, targets)

    def lengths(self) -> list[tuple[int, int]]:
        """Words of each pair: source, target."""
        return [(len(s), len(t)) for s, t in zip(self.sources, self.targets, strict=True)]


def main(arguments: list[str]) -> None:
    """Learn or load, align, write, and evaluate where there is gold."""
    options = _parser().parse_intermixed_args(arguments)
    chosen = [f"symmetrise={options.symmetrise}"] if options.symmetrise else []
    learned = load(options.model) if options.model else None
    settings = load_settings([*options.settings, *chosen], learned and learned.settings)
    split = settings.words.split
    texts = [Text.read("text", options.source, options.target, split)]
    if options.test:
        source, target = options.test
        texts.append(Text.read("test", source, target, split))
    gold = None
    if options.gold:
        gold = read_gold(existing(options.gold, "--gold"), options.base, texts[-1].lengths(), _say)
    output = options.out or Path("runs") / "align" / time.strftime("%Y%m%d-%H%M%S")

    start = time.perf_counter()
    aligner: Aligns
    if options.encoder:
        from attnlab.alignment.encoder import EncoderAligner  # torch and transformers

        aligner = EncoderAligner.load(options.encoder, settings)
    else:
        aligner = replace(learned, settings=settings) if learned else learn_from(texts, settings)
    aligned = [align(aligner, text, output) for text in texts]
    seconds = time.perf_counter() - start
    written = [] if learned or not isinstance(aligner, Aligner) else [save(aligner, output)]
    if gold is not None:
        from attnlab.stages.align_scores import save_figures, scores, show

        maps, how = aligned[-1]
        figures = scores(maps, gold, settings)
        show(figures, how)
        files = [file for text in texts for file in text.files]
        written.append(save_figures(figures, output, seconds, digest([*files, Path(options.gold)])))
    for path in (*(p for text in texts for p in output_paths(output, text, settings)), *written):
        print(path)


def learn_from(texts: Sequence[Text], settings: AlignerSettings) -> Aligner:
    """An aligner from all the texts: no gold is read, so those that test may be among them."""
    sources = [sentence for text in texts for sentence in text.sources]
    targets = [sentence for text in texts for sentence in text.targets]
    _say(f"learning from {len(sources)} pairs")
    return learn(sources, targets, settings, _say)


def align(aligner: Aligns, text: Text, folder: Path) -> tuple[list[Maps], Symmetrisation]:
    """Write the links of a text, in both directions and as one; returns its maps, and how both
    directions became one."""
    _say(f"aligning {len(text.sources)} pairs of the {text.name}")
    settings = aligner.settings
    maps = [Maps.nothing(*lengths) for lengths in text.lengths()]
    left_out = set(range(len(maps)))
    for row, found_maps in aligner.maps(text.sources, text.targets):
        maps[row] = found_maps
        left_out.discard(row)
    if left_out:
        _say(_named(sorted(left_out), text, settings.longest))
    how, why = aligner.symmetrisation(maps)
    _say(f"both directions as one: {how}{why}")
    folder.mkdir(parents=True, exist_ok=True)
    forward, backward, both, *words = output_paths(folder, text, settings)
    directed = [each.directed() for each in maps]
    _write(forward, (links for links, _ in directed))
    _write(backward, (links for _, links in directed))
    _write(both, (each.links(how, settings.threshold) for each in maps))
    for path, sentences in zip(words, (text.sources, text.targets), strict=False):
        path.write_text("".join(f"{' '.join(each)}\n" for each in sentences), encoding="utf-8")
    return maps, how


def _named(rows: Sequence[int], text: Text, longest: int) -> str:
    """Lines of a text that have no links, by their numbers from 1, and why."""
    lengths = text.lengths()
    reasons = {
        "no words on a side": [row for row in rows if not min(lengths[row])],
        f"more than {longest} words": [row for row in rows if max(lengths[row]) > longest],
    }
    reasons["too long for the encoder"] = sorted(set(rows).difference(*reasons.values()))
    parts = []
    for reason, of in reasons.items():
        named = ", ".join(str(row + 1) for row in of[:NAMED]) + (", ..." if of[NAMED:] else "")
        parts += [f"line{'s' if of[1:] else ''} {named} ({reason})"] if of else []
    return f"{len(rows)} without links: {'; '.join(parts)}"


def output_paths(folder: Path, text: Text, settings: AlignerSettings) -> list[Path]:
    """Where the links of a text go: of each direction, and of both as one; and, where words do not
    stand between spaces, the words."""
    names = [f"{name}.align" for name in ("forward", "backward", settings.symmetrise)]
    names += [] if settings.words.split == "spaces" else ["source.txt", "target.txt"]
    return [folder / f"{text.name}.{name}" for name in names]


def existing(file: str | Path, key: str) -> Path:
    """The file, if there is one."""
    path = Path(file)
    if not path.parent.is_dir():
        raise UserError(f"{key}: no folder {path.parent}")
    if not path.is_file():
        raise missing(path, key)
    return path


def _without_spaces(sentences: Sequence[Sentence]) -> bool:
    """Whether what stands between spaces is longer than the words of such a script are."""
    words = list(islice(chain.from_iterable(sentences), MOST_LOOKED_AT))
    return sum(len(WORD["unspaced"].findall(word)) for word in words) > LONG * len(words)


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
    once = parser.add_mutually_exclusive_group()
    once.add_argument(
        "--encoder",
        metavar="NAME",
        help="a pretrained encoder, on the hub or a folder: no learning",
    )
    once.add_argument("--model", type=Path, metavar="FOLDER", help="learned before: do not learn")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where files go (runs/align/...)"
    )
    return parser
