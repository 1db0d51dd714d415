"""`Faults`: the rows that cannot be used - how many, which, and when it is too many."""

from __future__ import annotations

from dataclasses import dataclass, field

from attnlab.datasets.readers.row import Row
from attnlab.errors import UserError

SHOWN = 3


@dataclass
class Faults:
    """Counted while the rows go by."""

    key: str  # the setting that says where the rows are
    allowed: float  # share of the rows
    rows: int = 0
    bad: int = 0
    first: list[str] = field(default_factory=list)  # the first few, with file and row

    def add(self, row: Row, problem: str) -> None:
        self.bad += 1
        if len(self.first) < SHOWN:
            self.first.append(f"{row.place}: {problem}")

    def check(self) -> None:
        """At the end of the rows: raises if too many were bad."""
        if self.bad > self.allowed * self.rows:
            raise UserError(
                f"{self.key}: {self.text()}; dataset.bad_rows allows {self.allowed:.2%}"
            )

    def text(self) -> str:
        """In one line."""
        more = f"; and {self.bad - len(self.first)} more" if self.bad > len(self.first) else ""
        return f"{self.bad} of {self.rows} rows cannot be used ({'; '.join(self.first)}{more})"
