"""Questions of the tasks: what a row of each test set asks, laid out as lm-evaluation-harness does.

A parser takes the columns of the hub's dataset, and those of the files that CORE uses (query,
choices, gold; context_options, continuation, gold; context, continuation).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from yxanul.text.benchmarks import string

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """Continuations to choose from. Several contexts with one continuation, or the reverse."""

    contexts: tuple[str, ...]
    continuations: tuple[str, ...]
    """Without the delimiter that joins them to the context."""
    gold: int = 0
    """Index of the right context or continuation."""
    group: str = ""
    """Part of the set, if it has several."""
    page: str = ""
    """Original of a text that is scored in another form: its words and bytes count."""

    def __post_init__(self) -> None:
        texts = (*self.contexts, *self.continuations)
        if not all(isinstance(text, str) for text in texts) or not all(self.continuations):
            raise ValueError("a choice is empty or not text")
        if not 0 <= self.gold < self.num_choices:
            raise ValueError(f"answer {self.gold} of {self.num_choices} choices")

    @property
    def num_choices(self) -> int:
        """Number of choices."""
        return max(len(self.contexts), len(self.continuations))

    def choice(self, index: int) -> tuple[str, str]:
        """Return context and continuation of a choice."""
        return self.contexts[index % len(self.contexts)], self.continuations[
            index % len(self.continuations)
        ]


def answered(context: str, answer: str) -> Question:
    """Return the question with one continuation, the right one."""
    return Question((context,), (answer,))


def chosen(context: str, choices: Sequence[str], gold: int, group: str = "") -> Question:
    """Return the question that asks for one of several continuations of a context."""
    return Question((context,), tuple(choices), gold, group)


def core_row(row: Row) -> Question:
    """Read a row in any of the three layouts of CORE, as it is."""
    if "context_options" in row:
        return Question(tuple(row["context_options"]), (row["continuation"],), row["gold"])
    if "query" in row or "context" not in row:
        return chosen(row["query"], row["choices"], row["gold"])
    return answered(row["context"], row["continuation"])


def ai2_arc(row: Row) -> Question:
    """Read ARC."""
    if "query" in row:
        return chosen(f"{row['query']}\nAnswer:", row["choices"], row["gold"])
    choices = row["choices"]
    gold = choices["label"].index(row["answerKey"])
    return chosen(f"Question: {row['question']}\nAnswer:", choices["text"], gold)


def piqa(row: Row) -> Question:
    """Read PIQA."""
    if "query" in row:
        return chosen(f"{row['query'].rstrip()}\nAnswer:", row["choices"], row["gold"])
    return chosen(f"Question: {row['goal']}\nAnswer:", (row["sol1"], row["sol2"]), row["label"])


def winogrande(row: Row) -> Question:
    """Read WinoGrande: the text after the gap, given each filling of the gap."""
    if "context_options" in row:
        return core_row(row)
    before, _, after = row["sentence"].partition("_")
    contexts = (before + row["option1"], before + row["option2"])
    return Question(contexts, (after.strip(),), int(row["answer"]) - 1)


def openbookqa(row: Row) -> Question:
    """Read OpenBookQA."""
    if "query" in row:
        return core_row(row)
    choices = row["choices"]
    return chosen(row["question_stem"], choices["text"], choices["label"].index(row["answerKey"]))


def copa(row: Row) -> Question:
    """Read COPA."""
    if "query" in row:
        query = re.sub(r", (because|therefore)$", r" \1", row["query"])
        return chosen(query, row["choices"], row["gold"])
    word = {"cause": "because", "effect": "therefore"}[row["question"]]
    choices = [text[:1].lower() + text[1:] for text in (row["choice1"], row["choice2"])]
    return chosen(f"{row['premise'].strip()[:-1]} {word}", choices, row["label"])


def commonsense_qa(row: Row) -> Question:
    """Read CommonsenseQA, whose answers are letters."""
    if "query" in row:
        query = row["query"].replace("\nChoices:\n", "\n")
        return chosen(query, row["choices"], row["gold"])
    letters, texts = row["choices"]["label"], row["choices"]["text"]
    lines = [f"{letter}. {text}" for letter, text in zip(letters, texts, strict=True)]
    query = "\n".join([f"Question: {row['question'].strip()}", *lines, "Answer:"])
    return chosen(query, letters, letters.index(row["answerKey"]))


def boolq(row: Row) -> Question:
    """Read BoolQ."""
    if "query" in row:
        query = row["query"].removeprefix("Passage: ")
        return chosen(f"{query}\nAnswer:", row["choices"], row["gold"])
    query = f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:"
    return chosen(query, ("no", "yes"), int(row["label"]))


def sciq(row: Row) -> Question:
    """Read SciQ."""
    choices = [row[f"distractor{number}"] for number in (1, 2, 3)]
    query = f"{row['support'].lstrip()}\nQuestion: {row['question']}\nAnswer:"
    return chosen(query, [*choices, row["correct_answer"]], 3)


def hellaswag(row: Row) -> Question:
    """Read HellaSwag.

    A file with `ctx` alone is cleaned already, but its last, unfinished sentence begins in lower
    case, which the published layout capitalises.
    """
    if "query" in row:
        return core_row(row)
    if "ctx_a" in row:
        begun = f"{row['ctx_a']} {row['ctx_b'].capitalize()}"
        context = _clean(f"{row['activity_label']}: {begun}")
        endings = [_clean(ending) for ending in row["endings"]]
    else:
        head, dot, tail = string(row, "ctx").rpartition(". ")
        context, endings = head + dot + tail[:1].upper() + tail[1:], row["endings"]
    return chosen(context, endings, int(row["label"]))


def _clean(text: str) -> str:
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def lambada(row: Row) -> Question:
    """Read LAMBADA: the last word of a passage."""
    if "continuation" in row:
        return core_row(row)
    context, _, word = string(row, "text").rpartition(" ")
    return answered(context, word)


def blimp(row: Row) -> Question:
    """Read BLiMP: the grammatical sentence of a pair."""
    pair = (string(row, "sentence_good"), string(row, "sentence_bad"))
    return chosen("", pair, 0, row.get("UID", ""))


def gsm8k(row: Row) -> Question:
    """Read GSM8K with the worked answer."""
    return answered(f"Question: {string(row, 'question')}\nAnswer:", string(row, "answer"))


def humaneval(row: Row) -> Question:
    """Read HumanEval with its solution."""
    return answered(string(row, "prompt"), string(row, "canonical_solution"))


def wikitext(row: Row) -> Question:
    """Read a page of WikiText, of which the detokenized text is scored."""
    page = string(row, "page")
    return Question(("",), (detokenized(page),), page=page)


_WIKITEXT_PAIRS = ("()", "[]", "{}", '""', "''")
_WIKITEXT_RULES = (
    ("s '", "s'"),
    ("/' [0-9]/", "/'[0-9]/"),  # never in text; as it stands in lm-evaluation-harness
    *((f" @{re.escape(sign)}@ ", sign) for sign in "-,."),
    *((f" {re.escape(sign)} ", f"{sign} ") for sign in ":;.!?,"),
    *(
        (
            rf"{re.escape(left)}\s*([^{re.escape(right)}]*?)\s*{re.escape(right)}",
            rf"{left}\1{right}",
        )
        for left, right in _WIKITEXT_PAIRS
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
    """Return a page of WikiText without the spaces and signs that its tokenization put in."""
    for pattern, replacement in _WIKITEXT_RULES:
        page = re.sub(pattern, replacement, page)
    return page


def num_words(page: str) -> int:
    """Return the number of words as lm-evaluation-harness counts them: pieces between blanks, of
    which the first and the last may be empty."""
    return len(re.split(r"\s+", page))
