"""Word vectors: read from a file that somebody published, or counted in texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from attnlab.data.vocabulary import WordVectors
from attnlab.datasets.readers.files import BadRowError, find_files, lines
from attnlab.datasets.readers.words import Wording
from attnlab.errors import UserError

Numbers = npt.NDArray[np.float32]
Texts = Callable[[], Iterable[Sequence[str]]]  # from the first one, each time it is called
AT_ONCE = 10_000  # texts whose pairs are in memory together


class VectorFile:
    """A word and its numbers on each line; a first line with two numbers says how many there are.

    Lines stand as their makers ordered them, mostly by how often words occur.
    """

    def __init__(self, *, path: str, size: int | None) -> None:
        self.path, self.size = path, size

    def files(self) -> list[Path]:
        return find_files(Path(), self.path, "dataset.vectors.path")

    def known(self, texts: Texts, wording: Wording) -> WordVectors:
        """The words of the file, whatever the texts hold."""
        path = self.files()[0]
        numbers: dict[str, Numbers] = {}
        dim = 0
        for row, line in enumerate(lines(path), start=1):
            fields = line.rstrip().split(" ")
            if row == 1 and len(fields) == 2:
                continue
            dim = dim or len(fields) - 1
            if self.size is not None and len(numbers) == self.size:
                break
            word = " ".join(fields[:-dim])  # some files have words with spaces
            numbers.setdefault(word, _numbers(fields[-dim:], dim, f"{path}, row {row}"))
        if not numbers:
            raise UserError(f"dataset.vectors.path: {path} holds no vectors")
        return WordVectors(list(numbers), np.stack(list(numbers.values())))


def _numbers(fields: Sequence[str], dim: int, where: str) -> Numbers:
    try:
        numbers = np.array(fields, np.float32)
    except ValueError:
        numbers = np.empty(0, np.float32)
    if dim < 2 or len(numbers) != dim or not np.isfinite(numbers).all():
        raise UserError(f"{where}: not a word and {max(dim, 2)} numbers; a line is WORD 0.12 -0.3")
    return numbers


class CountedVectors:
    """How much oftener words stand together than by chance, in few numbers.

    Positive pointwise mutual information, whose contexts are smoothed, and the first singular
    vectors of it; as good as vectors that are trained where texts are few (Levy, Goldberg & Dagan
    2015). Near words count by how near they are.
    """

    SMOOTHED = 0.75  # power of how often a context occurs

    def __init__(
        self, *, texts: Sequence[str], dim: int, window: int, at_least: int, size: int | None
    ) -> None:
        self.texts, self.dim, self.window = texts, dim, window
        self.at_least, self.size = at_least, size

    def files(self) -> list[Path]:
        key = "dataset.vectors.texts"
        try:
            return [path for name in self.texts for path in find_files(Path(), name, key)]
        except UserError as error:
            raise UserError(f"{error}; without more texts: {key}=[]") from None

    def known(self, texts: Texts, wording: Wording) -> WordVectors:
        """Of these texts and those of the files; words of the latter follow the same rules."""
        from sklearn.utils.extmath import randomized_svd  # takes a second

        counts = Counter(word for text in self._all(texts, wording) for word in text)
        words = [word for word, count in counts.most_common(self.size) if count >= self.at_least]
        if len(words) <= self.dim:
            raise UserError(
                f"dataset.vectors.dim: {self.dim} numbers for {len(words)} words that occur "
                f"{self.at_least} times; try: dataset.vectors.dim={max(2, len(words) // 4)}"
            )
        number = {word: n for n, word in enumerate(words)}
        rows = ([number.get(word, -1) for word in text] for text in self._all(texts, wording))
        near = near_pairs(rows, len(words), self.window)
        left, strength, _ = randomized_svd(self.information(near), self.dim, random_state=0)
        vectors = left * np.sqrt(strength)  # words x dim
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        return WordVectors(words, (vectors / np.maximum(length, 1e-9)).astype(np.float32))

    def information(self, near: csr_matrix) -> csr_matrix:
        """PPMI of counts, words x contexts."""
        pairs = near.tocoo()
        often = np.asarray(near.sum(1)).ravel()
        smooth = often**self.SMOOTHED
        chance = often[pairs.row] * smooth[pairs.col] / smooth.sum()
        information = np.log(pairs.data / chance)
        positive = information > 0
        indices = pairs.row[positive], pairs.col[positive]
        return csr_matrix((information[positive], indices), shape=near.shape)

    def _all(self, texts: Texts, wording: Wording) -> Iterator[Sequence[str]]:
        yield from texts()
        for path in self.files():
            for row, line in enumerate(lines(path), start=1):
                if not line or line.isspace():
                    continue
                try:
                    yield wording.of(line, "text").words
                except BadRowError as error:
                    raise UserError(f"{path}, row {row}: {error}") from None


def near_pairs(rows: Iterable[Sequence[int]], words: int, window: int) -> csr_matrix:
    """How often words stand near each other, words x words; numbers below 0 are no words.

    A word d places away counts 1 / d.
    """
    near = csr_matrix((words, words))
    rows, gap = iter(rows), [-1] * window  # so that no window reaches into the next text
    while some := list(islice(rows, AT_ONCE)):
        line = np.array([number for text in some for number in (*text, *gap)])
        for distance in range(1, window + 1):
            one, other = line[:-distance], line[distance:]
            there = (one >= 0) & (other >= 0)
            weights = np.full(there.sum(), 1 / distance)
            near = near + csr_matrix((weights, (one[there], other[there])), (words, words))
    return near + near.T
