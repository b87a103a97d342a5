"""WikiText's pages as plain text: its tokens, which spaces part, put together again."""

from __future__ import annotations

import re

_PAIRS = ("()", "[]", "{}", '""', "''")
_RULES = (
    ("s '", "s'"),
    ("/' [0-9]/", "/'[0-9]/"),  # never in text; as it stands in lm-evaluation-harness
    *((f" @{re.escape(sign)}@ ", sign) for sign in "-,."),
    *((f" {re.escape(sign)} ", f"{sign} ") for sign in ":;.!?,"),
    *(
        (
            rf"{re.escape(left)}\s*([^{re.escape(right)}]*?)\s*{re.escape(right)}",
            rf"{left}\1{right}",
        )
        for left, right in _PAIRS
    ),
    *((" ".join("=" * count), "=" * count) for count in (4, 3, 2)),
    (" \N{DEGREE SIGN} ", "\N{DEGREE SIGN}"),
    (" \n", "\n"),
    ("\n ", "\n"),
    (" N ", " 1 "),
    (" 's", "'s"),
)
"""(pattern, replacement), applied in this order: the rules of lm-evaluation-harness 0.4.13."""


def detokenized(page: str) -> str:
    """Return a page without the spaces and signs that WikiText's tokenization put in."""
    for pattern, replacement in _RULES:
        page = re.sub(pattern, replacement, page)
    return page


def num_words(page: str) -> int:
    """Return the number of words as lm-evaluation-harness counts them: pieces between blanks, of
    which the first and the last may be empty."""
    return len(re.split(r"\s+", page))
