"""Simple models as controls, trained in seconds on the same examples.

`LinearClassifier` labels texts, pictures and sounds, and `LinearRegressor` has numbers for them;
`LinearTagger` tags words; `NearestAnswer` gives the answer of the training example whose text is
most alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from attnlab.data.example import Example, words_of
from attnlab.data.inputs import Picture, Sound
from attnlab.models.embedders import mel_filters

Floats = npt.NDArray[np.float32]

MOST_EXAMPLES = 20_000  # texts that a classifier is fitted to
MOST_ANSWERS = 10_000  # texts that others are compared with
MOST_ARRAYS = 5_000  # pictures or sounds
MOST_PIXELS = 1_024  # of a picture, after averaging over squares
MEL_BANDS, MEL_WINDOW = 40, 0.025  # seconds
MOST_TOKENS = 100_000  # words that a tagger sees in one pass
PASSES = 8  # of a tagger over its training words
AFFIXES = (1, 2, 3, 4)  # characters of the prefixes and suffixes that a tagger uses


class LinearModel:
    """A model on TF-IDF of n-grams, on pixels, or on log-mel features.

    N-grams are of one or two words; of one to five characters in a text of characters. The
    features of several inputs are concatenated.
    """

    def __init__(self, inputs: Mapping[str, Any]) -> None:
        """`inputs`: the form of each input, as the codec has it."""
        self.inputs = inputs
        self.transforms: dict[str, Any] = {}  # by input: TF-IDF, or scaling to unit variance
        self.arrays = any(isinstance(form, Picture | Sound) for form in inputs.values())
        self.model: Any = None

    def _learn(self, model: Any, examples: Sequence[Example], answers: Sequence[Any]) -> Self:
        """Fit scikit-learn's model to examples with an answer; of many, always the same sample."""
        answered = [i for i, answer in enumerate(answers) if answer is not None]
        most = MOST_ARRAYS if self.arrays else MOST_EXAMPLES
        chosen = [answered[i] for i in _sample(len(answered), most)]
        features = self._features([examples[i] for i in chosen], fit=True)
        self.model = model.fit(features, [answers[i] for i in chosen])
        return self

    def _predicted(self, examples: Sequence[Example]) -> Any:
        return self.model.predict(self._features(list(examples), fit=False))

    def _features(self, examples: Sequence[Example], *, fit: bool) -> Any:
        """examples x features, sparse."""
        from scipy.sparse import csr_matrix, hstack

        parts = []
        for name, form in self.inputs.items():
            values = [example.inputs.get(name) for example in examples]
            if isinstance(form, Picture | Sound):
                values = [_numbers(value, form) for value in values]
            if fit:
                self.transforms[name] = self._transform(form).fit(values)
            parts.append(csr_matrix(self.transforms[name].transform(values)))
        return hstack(parts, format="csr")

    def _transform(self, form: Any) -> Any:
        if isinstance(form, Picture | Sound):
            from sklearn.preprocessing import StandardScaler

            return StandardScaler()
        return _tfidf()


class LinearClassifier(LinearModel):
    """Logistic regression."""

    def fit(self, examples: Sequence[Example], labels: Sequence[int | None]) -> Self:
        """Learn from examples; None is an unknown label."""
        from sklearn.linear_model import LogisticRegression  # half a second

        strength = 0.05 if self.arrays else 10.0  # inverse of the penalty: counts are sparse
        return self._learn(LogisticRegression(C=strength, max_iter=200), examples, labels)

    def predict(self, examples: Sequence[Example]) -> list[int]:
        """The number of the label of each."""
        return self._predicted(examples).tolist()


class LinearRegressor(LinearModel):
    """Ridge regression."""

    def fit(self, examples: Sequence[Example], numbers: Sequence[Sequence[float] | None]) -> Self:
        """Learn from examples; None is where nobody knows the numbers."""
        from sklearn.linear_model import Ridge

        return self._learn(Ridge(alpha=100.0 if self.arrays else 1.0), examples, numbers)

    def predict(self, examples: Sequence[Example]) -> list[list[float]]:
        """The numbers of each."""
        return self._predicted(examples).reshape(len(examples), -1).tolist()


def _tfidf() -> Any:
    """Vectors of length one, of a text's n-grams."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    analyzer: Any = _ngrams
    return TfidfVectorizer(analyzer=analyzer, sublinear_tf=True)


def _ngrams(value: Any) -> list[str]:
    """N-grams of one or two words; of a text of characters, of one to five characters."""
    words = [str(word) for word in words_of(value) or ()]
    longest = 5 if words and max(map(len, words)) == 1 else 2
    return [
        " ".join(words[start : start + length])
        for length in range(1, longest + 1)
        for start in range(len(words) - length + 1)
    ] or [""]  # a text without words


def _numbers(value: Any, form: Picture | Sound) -> Floats:
    """A picture as few pixels, or a sound as means and deviations of its log-mel bands."""
    array = form.absent() if value is None else torch.tensor(value)
    if isinstance(form, Picture):
        side = 1
        while array.shape[-1] * array.shape[-2] // side**2 > MOST_PIXELS:
            side += 1
        pooled = torch.nn.functional.avg_pool2d(array.float(), side, ceil_mode=True)
        return pooled.flatten().numpy()
    window = round(MEL_WINDOW * form.sample_rate)
    frames = torch.nn.functional.pad(array.float(), (0, window)).unfold(-1, window, window // 2)
    power = torch.fft.rfft(frames * torch.hann_window(window)).abs().square()  # frames x bins
    bands = (power @ mel_filters(MEL_BANDS, window, form.sample_rate) + 1e-6).log()
    thirds = [part.mean(0) for part in bands.tensor_split(3)]  # in time
    return torch.cat([*thirds, bands.std(0, correction=0)]).nan_to_num().numpy()


def _sample(count: int, most: int) -> Iterable[int]:
    return range(count) if count <= most else np.random.default_rng(0).choice(count, most, False)


class NearestAnswer:
    """The answer of the training example whose text has the greatest cosine of TF-IDF."""

    def __init__(self, attended: str) -> None:
        """`attended`: the input whose texts are compared."""
        self.attended = attended
        self.answers: list[Any] = []
        self.transform: Any = None
        self.known: Any = None  # examples x features

    def fit(self, examples: Sequence[Example]) -> Self:
        """Learn from a sample of the examples, the same sample each time."""
        chosen = [examples[i] for i in _sample(len(examples), MOST_ANSWERS)]
        self.answers = [example.answer for example in chosen]
        self.transform = _tfidf()
        self.known = self.transform.fit_transform(self._texts(chosen))
        return self

    def predict(self, examples: Sequence[Example]) -> list[Any]:
        """The answer to each."""
        alike = self.transform.transform(self._texts(examples)) @ self.known.T
        return [self.answers[i] for i in np.asarray(alike.argmax(1)).ravel()]

    def _texts(self, examples: Sequence[Example]) -> list[Any]:
        return [example.inputs.get(self.attended) for example in examples]


class LinearTagger:
    """An averaged perceptron (Collins 2002) that tags words from left to right.

    Features of a word are the word, its prefixes and suffixes, its neighbours and the tag before.
    """

    def __init__(self) -> None:
        self.tags: list[str] = []
        self.rows: dict[str, int] = {}  # of each feature
        self.weights = np.zeros((0, 0), np.float32)  # features x tags

    def fit(self, texts: Iterable[tuple[Sequence[str], Sequence[str]]]) -> Self:
        """Learn from words and their tags."""
        texts = list(texts)
        self.tags = [tag for tag, _ in Counter(t for _, tags in texts for t in tags).most_common()]
        number = {tag: i for i, tag in enumerate(self.tags)}
        known = [
            ([self._known(each) for each in _features(words)], [number[tag] for tag in tags])
            for words, tags in texts
        ]
        before = [self._row(f"before {tag}") for tag in self.tags]
        weights, total = np.zeros((2, len(self.rows), len(self.tags)), np.float32)
        random, step = np.random.default_rng(0), 1
        for _ in range(PASSES):
            for i in self._order(known, random):
                last: int | None = None
                for rows, tag in zip(*known[i], strict=True):
                    active = rows if last is None else [*rows, before[last]]
                    best = int(weights[active].sum(0).argmax())
                    if best != tag:
                        for column, change in ((tag, 1), (best, -1)):
                            weights[active, column] += change
                            total[active, column] += change * step
                    last, step = tag, step + 1
        self.weights = weights - total / step  # the mean over all steps
        return self

    @staticmethod
    def _order(known: Sequence[tuple[Any, Sequence[int]]], random: Any) -> Iterable[int]:
        """The texts of one pass, shuffled, not more than so many words."""
        order = random.permutation(len(known))
        passed = np.cumsum([len(known[i][1]) for i in order])
        return islice(order, int(np.searchsorted(passed, MOST_TOKENS)) + 1)

    def _row(self, feature: str) -> int:
        return self.rows.setdefault(feature, len(self.rows))

    def _known(self, features: Sequence[str]) -> list[int]:
        return [self._row(feature) for feature in features]

    def predict(self, words: Sequence[str]) -> list[str]:
        """The tag of each word."""
        tags: list[str] = []
        for features in _features(words):
            last = [f"before {tags[-1]}"] if tags else []
            active = [self.rows[f] for f in (*features, *last) if f in self.rows]
            tags.append(self.tags[int(self.weights[active].sum(0).argmax())])
        return tags


def _features(words: Sequence[str]) -> list[list[str]]:
    """The names of the features of each word."""
    lowered = ["<", "<", *(word.lower() for word in words), ">", ">"]
    described = []
    for i, word in enumerate(words):
        before_last, before, low, after, after_next = lowered[i : i + 5]
        shape = "".join("A" if c.isupper() else "0" if c.isdigit() else "a" for c in word[:4])
        described.append(
            [
                "any",
                f"word {low}",
                f"shape {shape}",
                f"left {before}",
                f"right {after}",
                f"second left {before_last}",
                f"second right {after_next}",
                f"pair {before} {low}",
                f"pair {low} {after}",
                f"left pair {before_last} {before}",
                f"right pair {after} {after_next}",
                *(f"prefix {low[:n]}" for n in AFFIXES),
                *(f"suffix {low[-n:]}" for n in AFFIXES),
            ]
        )
    return described
