"""Source of each row: an interleave that stays within one row of the mixture weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from yxanul.base.errors import YxanulError


class Row(NamedTuple):
    """One row of a batch: its source, and the position of its first token in the stream."""

    source: str
    start: int


@dataclass(frozen=True)
class MixCursor:
    """Resume state of a mix: the position in each source, and the tokens still owed to it."""

    positions: dict[str, int] = field(default_factory=dict)
    """Tokens taken from each source."""
    debts: dict[str, Fraction] = field(default_factory=dict)
    """Tokens due from each source minus tokens taken; they sum to zero."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data; debts are exact fractions such as "-13/5"."""
        debts = {source: str(debt) for source, debt in self.debts.items()}
        return {"positions": dict(self.positions), "debts": debts}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> MixCursor:
        """Return the cursor that `to_dict` serialized."""
        debts = {source: Fraction(debt) for source, debt in data["debts"].items()}
        return cls({source: int(at) for source, at in data["positions"].items()}, debts)


def plan_rows(
    cursor: MixCursor, weights: Mapping[str, float], num_rows: int, seq_len: int
) -> tuple[list[Row], MixCursor]:
    """Return the next rows of a mix, each of `seq_len` tokens, and the cursor after them.

    With a constant mix and length, every source stays less than one row from its share, at every
    row. After a change, old debts are paid off first, the largest before the others. A source with
    zero weight yields no rows and keeps its debt until its weight is positive again.
    """
    shares = exact_shares(weights)
    interleave = _Interleave(cursor.debts, shares, seq_len)
    positions = {source: cursor.positions.get(source, 0) for source in shares}
    rows: list[Row] = []
    for _ in range(num_rows):
        source = interleave.next()
        rows.append(Row(source, positions[source]))
        positions[source] += seq_len
    taken = {source: at - cursor.positions.get(source, 0) for source, at in positions.items()}
    debts = {
        source: cursor.debts.get(source, Fraction(0)) + share * num_rows * seq_len - taken[source]
        for source, share in shares.items()
    }
    return rows, MixCursor({**cursor.positions, **positions}, {**cursor.debts, **debts})


def exact_shares(weights: Mapping[str, float]) -> dict[str, Fraction]:
    """Return exact shares that sum to one, sorted by name, without zero weights."""
    for source, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            raise YxanulError(
                f"invalid weight of '{source}' in a mix",
                got=weight,
                expected="a finite number, zero or more",
            )
    # Via the shortest decimal: 0.1 in a recipe means one tenth, not the nearest binary float.
    exact = {source: Fraction(str(weights[source])) for source in sorted(weights)}
    total = sum(exact.values())
    if total == 0:
        raise YxanulError("a mix has no source with a positive weight", got=dict(weights))
    return {source: weight / total for source, weight in exact.items() if weight}


class _Interleave:
    """Earliest-deadline-first scheduling in integer arithmetic.

    A source's next row is released once the source is owed anything, and is due before it is owed
    a whole row. Of the released rows, the one with the earliest deadline is taken; as the shares
    sum to one, every deadline is met (Tijdeman 1980, "The chairman assignment problem"; Baruah et
    al. 1996). Only debts from before a change can be overdue.
    """

    def __init__(
        self, debts: Mapping[str, Fraction], shares: Mapping[str, Fraction], seq_len: int
    ) -> None:
        start = {source: debts.get(source, Fraction(0)) for source in shares}
        scale = math.lcm(*(value.denominator for value in (*start.values(), *shares.values())))
        self._names = list(shares)
        self._owed = [int(debt * scale) for debt in start.values()]
        self._gain = [int(share * scale) * seq_len for share in shares.values()]
        self._row = scale * seq_len
        common = math.lcm(*self._gain)
        self._slowness = [common // gain for gain in self._gain]

    def next(self) -> str:
        """Return the source of the next row."""
        owed, row = self._owed, self._row
        for i, gain in enumerate(self._gain):
            owed[i] += gain
        most = max(owed)
        if 0 < most < row:
            chosen = min(
                (i for i, debt in enumerate(owed) if debt > 0),
                key=lambda i: (row - owed[i]) * self._slowness[i],
            )
        else:
            chosen = owed.index(most)
        owed[chosen] -= row
        return self._names[chosen]
