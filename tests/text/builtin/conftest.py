"""What the tests of several domains share: counted choices, compressed size, form of a text."""

import lzma
import math
import re

import pytest

from yxanul.text.sources.builtin.draws import Draws

SAMPLE_BYTES = 300_000
FLAWS = {
    "a before a vowel": r"\b[Aa] [aeiou]",
    "an before a consonant": r"\b[Aa]n (?!hour|honest)[^aeiou]",
    "doubled word": r"\b(?!had had\b)(\w+) \1\b",
    "unfilled place": r"[{}\[\]|_]",
    "doubled space": r"  | \n|\n ",
    "space before a mark": r" [.,!?;:]",
    "doubled mark": r"[.,!?;:]{2}",
    "small letter at the start": r"\A[^A-Z\"\d]|\n[a-z]|\.\"? [a-z]|[!?] [a-z]",
    "no end": r"[^.!?\"]\Z",
}


class CountingDraws(Draws):
    """Draws that add up how many bits of choice were made."""

    __slots__ = ("bits",)

    def __init__(self, seed: int):
        super().__init__(seed)
        self.bits = 0.0

    def below(self, count: int) -> int:
        self.bits += math.log2(count)
        return super().below(count)


@pytest.fixture
def counting_draws():
    """The class of draws that count their bits."""
    return CountingDraws


@pytest.fixture
def xz_bits_per_byte():
    """A function: what the strongest xz needs for the first 300 KB of texts."""

    def measured(texts):
        sample = "\n\n".join(texts).encode()[:SAMPLE_BYTES]
        assert len(sample) == SAMPLE_BYTES
        return 8 * len(lzma.compress(sample, preset=9 | lzma.PRESET_EXTREME)) / SAMPLE_BYTES

    return measured


@pytest.fixture
def words_of():
    """A function: the words of a text in small letters, without 's."""
    return lambda text: re.findall(r"[a-z]+", re.sub(r"'s\b", "", text.lower()))


@pytest.fixture
def flaws():
    """A function: what is wrong with the form of a text (agreement, doubling, quotes, spaces)."""

    def found(text):
        unclosed = ["quotes" for line in text.splitlines() if line.count('"') % 2]
        return [name for name, pattern in FLAWS.items() if re.search(pattern, text)] + unclosed

    return found
