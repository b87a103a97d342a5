"""The shape of a tale: its main slots and its paragraphs of beats, each told in many ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

# The ways to tell one moment of a tale; one is drawn. "" leaves the moment out.
Beat: TypeAlias = tuple[str, ...]
# The choices for a main slot: each gives the fields that it fills.
Slot: TypeAlias = tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Tale:
    """A kind of story. Every text of it names its heroes and the chosen option of every slot.

    That is what keeps two stories with different choices from being the same text.
    """

    name: str
    with_animals: bool
    slots: tuple[Slot, ...]
    paragraphs: tuple[tuple[Beat, ...], ...]
