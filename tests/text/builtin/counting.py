"""What the tests of several domains share: counted choices, compressed size, form of a text."""

import lzma
import math
import re

from yxanul.text.sources.builtin.draws import Draws

SAMPLE_BYTES = 300_000


class CountingDraws(Draws):
    """Draws that add up how many bits of choice were made."""

    __slots__ = ("bits",)

    def __init__(self, seed: int):
        super().__init__(seed)
        self.bits = 0.0

    def below(self, count: int) -> int:
        self.bits += math.log2(count)
        return super().below(count)


def xz_bits_per_byte(texts: list[str]) -> float:
    """Return what the strongest xz needs for the first 300 KB of `texts`."""
    sample = "\n\n".join(texts).encode()[:SAMPLE_BYTES]
    assert len(sample) == SAMPLE_BYTES
    return 8 * len(lzma.compress(sample, preset=9 | lzma.PRESET_EXTREME)) / SAMPLE_BYTES


def words_of(text: str) -> list[str]:
    """Return the words in small letters, without 's."""
    return re.findall(r"[a-z]+", re.sub(r"'s\b", "", text.lower()))


def flaws(text: str) -> list[str]:
    """Return what is wrong with the form of a text: agreement, doubling, quotes, spaces."""
    return [name for name, pattern in FLAWS.items() if re.search(pattern, text)] + [
        "quotes" for line in text.splitlines() if line.count('"') % 2
    ]


FLAWS = {
    "a before a vowel": r"\b[Aa] [aeiou]",
    "an before a consonant": r"\b[Aa]n [^aeiou]",
    "doubled word": r"\b(?!had had\b)(\w+) \1\b",
    "unfilled place": r"[{}\[\]|_]",
    "doubled space": r"  | \n|\n ",
    "space before a mark": r" [.,!?;:]",
    "doubled mark": r"[.,!?;:]{2}",
    "small letter at the start": r"\A[^A-Z\"]|\n[a-z]|\.\"? [a-z]|[!?] [a-z]",
    "no end": r"[^.!?\"]\Z",
}
