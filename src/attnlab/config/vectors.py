"""What words mean before training: vectors that embeddings start from. `conf/dataset/vectors/`."""

from __future__ import annotations

from pydantic import Field

from attnlab.config.section import Variant

VECTORS = "attnlab.datasets.readers.vectors"


class Vectors(Variant, slot="vectors"):
    """A vector for each word; words that have one are known, in training or not."""

    size: int | None = Field(gt=0, description="words at most, the first or most frequent ones")


class FileVectors(Vectors, kind="file", target=f"{VECTORS}:VectorFile"):
    """As GloVe, word2vec and fastText publish theirs: a word and its numbers on each line."""

    path: str = Field(min_length=1, description="the file, packed (.gz, .zip/inner) or not")


class CountedVectors(Vectors, kind="counted", target=f"{VECTORS}:CountedVectors"):
    """Made here: which words stand near which, in training and in texts without labels."""

    texts: list[str] = Field(
        description="more texts, line by line: files, patterns (part-*.txt), docs.zip/inner/*"
    )
    dim: int = Field(gt=1, description="numbers of a vector")
    window: int = Field(gt=0, description="words to each side that count as near")
    at_least: int = Field(ge=1, description="times that a word has to occur to get a vector")
