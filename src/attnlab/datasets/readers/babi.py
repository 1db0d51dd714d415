"""bAbI: stories with questions in between (Weston et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from attnlab.datasets.readers.paths import lines
from attnlab.datasets.readers.row import BadRowError, FileReader, Row


class BabiReader(FileReader):
    """A row is a question: the story so far, the answer, and which sentences lead to it.

    `story` is a list of sentences, `supporting` counts them from 0 in the order in which they are
    needed. Lines are numbered from 1 in each story, questions as well.
    """

    def read(self, path: Path) -> Iterator[Row]:
        story: dict[int, str] = {}  # the sentences so far by the number of their line
        for place, line in enumerate(lines(path), start=1):
            number, _, told = line.strip().partition(" ")
            if not number:
                continue
            if number == "1":
                story = {}
            cells = told.split("\t")
            if not number.isdecimal() or not told:
                yield Row(path.name, place, problem="no line such as '3 Mary went home.'")
            elif len(cells) == 1:
                story[int(number)] = told
            else:
                yield self._question(Row(path.name, place), cells, story)

    def _question(self, row: Row, cells: list[str], story: dict[int, str]) -> Row:
        try:
            question, answer, *facts = (cell.strip() for cell in cells)
            values = {
                "story": list(story.values()),
                "question": question,
                "answer": answer,
                "supporting": _places(facts[0] if facts else "", story),
            }
        except BadRowError as error:
            return Row(row.file, row.number, problem=str(error))
        return Row(row.file, row.number, values)


def _places(numbers: str, story: dict[int, str]) -> list[int]:
    """Where in the story the lines of these numbers stand, counted from 0."""
    places = {str(number): place for place, number in enumerate(story)}
    unknown = [number for number in numbers.split() if number not in places]
    if unknown:
        raise BadRowError(f"supporting line '{unknown[0]}' is no sentence of the story so far")
    return [places[number] for number in numbers.split()]
