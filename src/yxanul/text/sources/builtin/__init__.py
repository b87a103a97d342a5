"""Texts that need no download: made up by programs of this project, or Python's own sources.

`python_sources` is not in the table, because its documents come from files and not from numbers.
"""

from collections.abc import Callable

from yxanul.text.sources.builtin import math_problems, reasoning, stories

SYNTHETIC_NOTICE = "This text was written by a program that is part of yxanul, not by a person."

# The domain's name -> its generator: (index, seed) -> document, the same on every machine.
DOMAINS: dict[str, Callable[[int, int], str]] = {
    "stories": stories.document,
    "math": math_problems.document,
    "reasoning": reasoning.document,
}

__all__ = ["DOMAINS", "SYNTHETIC_NOTICE"]
