"""The tokenizer that a pretrained model was trained with: the model's own pieces of words.

It is read once, from the Hugging Face hub or a folder; what is kept with the data is enough to cut
words the same way again, without that folder and without `transformers`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from attnlab.data.groups import Groups
from attnlab.data.vocabulary import EOS, SPECIAL, Pieces, Texts
from attnlab.errors import UserError
from attnlab.text_files import problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class Marks:
    """What a pretrained tokenizer puts around a text, as numbers of its own."""

    special: tuple[int, ...]  # what stands for our <pad>, <s>, </s> and <unk>
    before: tuple[int, ...]
    after: tuple[int, ...]


class PretrainedPieces(Pieces):
    """Pieces of a pretrained model under our numbers, of which the first four are special.

    `ids` are the model's numbers in the order of ours. Texts that are read stand between the
    model's own marks, which belong to no word; texts that are written do not (`bare`).
    """

    def __init__(self, definition: str, marks: Marks, marked: bool = True) -> None:
        self._tokenizer = _spelling(definition)
        self._definition, self.marks, self.marked = definition, marks, marked
        rest = [i for i in range(_size(self._tokenizer)) if i not in marks.special]
        self.ids = [*marks.special, *rest]
        names = [self._tokenizer.id_to_token(number) or f"<{number}>" for number in rest]
        super().__init__([*SPECIAL, *names], self._spell, {})
        number = {own: ours for ours, own in reversed(list(enumerate(self.ids)))}
        self._before = [number[own] for own in marks.before if marked]
        self._after = [number[own] for own in marks.after if marked]

    def bare(self) -> PretrainedPieces:
        """The same without marks: for texts that a model writes."""
        return PretrainedPieces(self._definition, self.marks, marked=False)

    def encode(self, text: Iterable[str]) -> list[int]:
        return [*self._before, *super().encode(text), *self._after]

    def groups(self, text: Sequence[str]) -> Groups:
        return super().groups(text).with_ends(len(self._before), len(self._after))

    def read(self, numbers: Iterable[int]) -> tuple[list[str], Groups]:
        """The words that the pieces make, and which pieces those are, without special ones."""
        positions, own, count = [], [], 0
        for position, number in enumerate(numbers):
            if number == EOS:
                break
            count = position + 1
            if number >= len(SPECIAL):
                positions.append(position)
                own.append(self.ids[number])
        words = self._decoded(own)
        members: list[tuple[int, ...]] = [() for _ in words]
        before: list[str] = []
        waiting: tuple[int, ...] = ()  # for the word that they begin: pieces that are a space
        for last, position in enumerate(positions):
            so_far = self._decoded(own[: last + 1])
            waiting += (position,)
            if so_far != before:
                members[min(len(so_far), len(words)) - 1] += waiting
                before, waiting = so_far, ()
        return words, Groups(count, tuple(members))

    def _decoded(self, own: list[int]) -> list[str]:
        return self._tokenizer.decode(own, skip_special_tokens=True).split()

    def describe(self) -> dict[str, Any]:
        marks = {"special": self.marks.special, "before": self.marks.before}
        return {
            "pretrained": self._definition,
            "marks": {**marks, "after": self.marks.after},
            "marked": self.marked,
        }

    @classmethod
    def described(cls, content: dict[str, Any]) -> PretrainedPieces:
        """The vocabulary that `describe` wrote down."""
        marks = {name: tuple(numbers) for name, numbers in content["marks"].items()}
        return cls(content["pretrained"], Marks(**marks), content["marked"])

    def _spell(self, word: str) -> list[str]:
        return self._tokenizer.encode(word, add_special_tokens=False).tokens


class Pretrained:
    """The tokenizer of a pretrained model, for any model of ours: it is not trained again."""

    def __init__(self, *, model: str, revision: str | None) -> None:
        self.model, self.revision = model, revision

    def fit(self, texts: Texts) -> PretrainedPieces:
        return pretrained_pieces(self.model, self.revision, "dataset.tokenizer.model").bare()


def pretrained_pieces(model: str, revision: str | None, key: str) -> PretrainedPieces:
    """The pieces of a model on the hub or in a folder; `key` is what a mistake is blamed on."""
    tokenizer = _loaded(model, revision, key)
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return PretrainedPieces(backend.to_str(), _marks(tokenizer))


def _loaded(model: str, revision: str | None, key: str) -> PreTrainedTokenizerFast:
    try:
        from transformers import AutoTokenizer, PreTrainedTokenizerFast
    except ImportError:
        raise UserError(f"{key}: needs transformers; try: pip install 'attnlab[hf]'") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            model, revision=revision, trust_remote_code=False, **where(model)
        )
    except Exception as error:  # of any kind, where a file of the model is damaged
        raise UserError(
            f"{key}: no tokenizer in '{model}', neither a folder nor on the hub: {problem(error)}"
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        kind = type(tokenizer).__name__
        raise UserError(f"{key}: '{model}' has no tokenizer.json (a {kind}); words need one")
    return tokenizer


def where(model: str) -> dict[str, bool]:
    """Where to look for a model: on the hub, if it can be reached, else among what is here.

    The library would try for half a minute before it says so.
    """
    if Path(model).is_dir():
        return {}
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # of whatever library makes the request
        return {"local_files_only": True}
    return {}


def _marks(tokenizer: PreTrainedTokenizerFast) -> Marks:
    """Models name their marks differently: BERT ends with [SEP], T5 begins with nothing."""
    pad = tokenizer.pad_token_id
    if pad is None:
        pad = tokenizer.eos_token_id or 0
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    begin = tokenizer.cls_token_id if begin is None else begin
    end = tokenizer.sep_token_id if end is None else end
    named: tuple[Any, ...] = (pad, begin, end, tokenizer.unk_token_id)
    special: tuple[Any, ...] = tuple(pad if number is None else number for number in named)
    backend = tokenizer.backend_tokenizer
    alone = backend.encode("a", add_special_tokens=False).ids
    whole = backend.encode("a").ids
    start = _position_of(alone, whole)
    return Marks(special, tuple(whole[:start]), tuple(whole[start + len(alone) :]))


def _position_of(part: list[int], whole: list[int]) -> int:
    starts = range(len(whole) - len(part) + 1)
    return next(i for i in starts if whole[i : i + len(part)] == part)


def _spelling(definition: str) -> Tokenizer:
    """Cuts a word as within a text: behind a space, and without texts that name special pieces."""
    content = json.loads(definition)
    first = content.get("pre_tokenizer") or {}
    for each in [first, *first.get("pretokenizers", [])]:
        if "add_prefix_space" in each:
            each["add_prefix_space"] = True
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.encode_special_tokens = True
    return tokenizer


def _size(tokenizer: Tokenizer) -> int:
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
