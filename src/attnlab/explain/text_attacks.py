"""Attacks on texts: typos, words left out, words near in meaning; the words that matter first.

Greedy by importance (Jin et al. 2020, TextFooler): a word matters as much as the loss grows without
it. `random_changes` makes as many changes anywhere, as a control.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from attnlab.data.batch import collate
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.text_augment import Neighbours, misspelt
from attnlab.data.vocabulary import Vocabulary
from attnlab.errors import UserError
from attnlab.explain.attacks import Outputs, observed
from attnlab.explain.subject import reader_of
from attnlab.tasks.task import Task

Words = list[str]
Change = Callable[[Words, int], Iterator[Words]]  # texts in which one word is changed
AT_ONCE = 64  # variants of a text in one pass


def typos(words: Words, position: int) -> Iterator[Words]:
    """A word misspelt in every way; of a text of characters, two of them exchanged."""
    word = words[position]
    if all(len(each) == 1 for each in words):
        if position + 1 < len(words) and word != words[position + 1]:
            yield [*words[:position], words[position + 1], word, *words[position + 2 :]]
        return
    for other in misspelt(word):
        yield [*words[:position], other, *words[position + 1 :]]


def deletions(words: Words, position: int) -> Iterator[Words]:
    """The text without a word."""
    if len(words) > 1:
        yield [*words[:position], *words[position + 1 :]]


class Synonyms:
    """A word in whose place one of its neighbours among the vectors of the vocabulary stands."""

    def __init__(self, vocabulary: Vocabulary, vectors: Tensor, count: int, least: float) -> None:
        self.near = Neighbours(vocabulary, vectors, count, least)

    def __call__(self, words: Words, position: int) -> Iterator[Words]:
        for other in self.near(words[position]):
            yield [*words[:position], other, *words[position + 1 :]]


def synonyms(model: nn.Module, codec: Codec, count: int = 8, least: float = 0.5) -> Synonyms:
    """Neighbours by the word vectors of the data, or else by the model's own embedding.

    Raises:
        UserError: the model has no matrix with a row for each word.
    """
    vocabulary = codec.texts[codec.attended]
    if vocabulary.vectors is not None:
        return Synonyms(vocabulary, torch.tensor(vocabulary.vectors).nan_to_num(), count, least)
    for module in reader_of(model).embedder.modules():
        if isinstance(module, nn.Embedding) and module.num_embeddings >= len(vocabulary):
            return Synonyms(vocabulary, module.weight.detach().cpu(), count, least)
    raise UserError("synonyms: the model has no vector for each word; try: other --kinds")


@dataclass(frozen=True)
class TextAttacked:
    """A model, and an example with a text that is attended to."""

    model: nn.Module
    task: Task
    codec: Codec
    example: Example

    @property
    def words(self) -> Words:
        """The text as it is."""
        return list(self.example.inputs[self.example.attended])  # type: ignore[arg-type]

    def outputs(self, texts: Sequence[Words]) -> Outputs:
        """What the model makes of the example with each of these texts; of equal length or not."""
        name, device = self.example.attended, next(self.model.parameters()).device
        parts: list[Outputs] = []
        for start in range(0, len(texts), AT_ONCE):
            some = [
                replace(self.example, inputs=self.example.inputs | {name: words}, target=None)
                for words in texts[start : start + AT_ONCE]
            ]
            batch = collate([self.codec.encode(each, i) for i, each in enumerate(some)])
            parts.append(observed(self.model, self.task, batch.to(device)))
        predicted = [text for part in parts for text in part.texts]
        maps = [row for part in parts for row in part.maps]
        shape = [max(m.shape[axis] for m in maps) for axis in (0, 1)]
        padded = [
            nn.functional.pad(m, (0, shape[1] - m.shape[1], 0, shape[0] - m.shape[0])) for m in maps
        ]
        return Outputs(predicted, torch.cat([part.losses for part in parts]), torch.stack(padded))


def greedy(attacked: TextAttacked, change: Change, most: int) -> Words:
    """The text after at most so many changes, the most harmful of the words that matter most.

    It stops at the first wrong answer.
    """
    words = attacked.words
    kept = [[*words[:i], *words[i + 1 :]] for i in range(len(words))] if len(words) > 1 else [words]
    whole = attacked.outputs([words])
    right, importance = whole.texts[0], attacked.outputs(kept).losses
    gone, changed = 0, 0  # words left out before a place, and changes
    order = importance.argsort(descending=True).tolist()
    left_out: list[int] = []
    loss = float(whole.losses[0])
    for position in order:
        if changed == most:
            break
        gone = sum(other < position for other in left_out)
        candidates = list(change(words, position - gone))
        if not candidates:
            continue
        outputs = attacked.outputs(candidates)
        wrong = [i for i, text in enumerate(outputs.texts) if text != right]
        best = max(wrong or range(len(candidates)), key=lambda i: float(outputs.losses[i]))
        if not wrong and float(outputs.losses[best]) <= loss:
            continue
        if len(candidates[best]) < len(words):
            left_out.append(position)
        words, loss, changed = candidates[best], float(outputs.losses[best]), changed + 1
        if wrong:
            break
    return words


def random_changes(attacked: TextAttacked, change: Change, most: int) -> Words:
    """The text with so many changes at random places."""
    words, draws = attacked.words, random.Random(attacked.example.id)
    for _ in range(most):
        candidates = list(change(words, draws.randrange(len(words))))
        words = draws.choice(candidates) if candidates else words
    return words
