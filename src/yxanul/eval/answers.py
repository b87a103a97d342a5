"""Scoring of generated answers; as in lm-evaluation-harness 0.4.13 where it has the task."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping, Sequence

from yxanul.eval.questions import Row

HUMANEVAL_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
MBPP_STOPS = ("[DONE]",)

_STRICT_NUMBER = re.compile(r"#### (-?[0-9.,]+)")
_ANY_NUMBER = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
_NOT_OF_A_NUMBER = re.compile(r"[,$]|.*#### ", re.DOTALL)
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_PUNCTUATION_TO_SPACES = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))


def score_gsm8k(row: Row, answer: str) -> dict[str, float]:
    """Compare the final number: strict, the first after "#### "; flexible, the last of all."""
    gold = plain_number(row["answer"])
    strict = map(plain_number, _STRICT_NUMBER.findall(answer)[:1])
    flexible = map(plain_number, _ANY_NUMBER.findall(answer)[-1:])
    return {
        "exact_match_strict": float(gold in strict),
        "exact_match_flexible": float(gold in flexible),
    }


def plain_number(text: str) -> str:
    """Return a number, or the one after "#### ", without commas, dollar signs and a final dot."""
    return _NOT_OF_A_NUMBER.sub("", text).removesuffix(".")


def triviaqa_prompt(row: Row) -> str:
    """Return the prompt; questions from the hub end in "?" already, and get a second one as in the
    harness."""
    return row.get("context") or f"Question: {row['question']}?\nAnswer:"


def triviaqa_aliases(row: Row) -> list[str]:
    """Return the accepted answers, the usual one first."""
    answer = row["answer"]
    own = answer if isinstance(answer, Mapping) else {**row, "value": answer}
    return [own["value"], *own["aliases"]]


def score_triviaqa(row: Row, answer: str) -> dict[str, float]:
    """Compare with every alias: punctuation and case are ignored; in the original rule of the
    dataset also articles and the number of spaces."""
    aliases = triviaqa_aliases(row)
    exact = without_punctuation(answer.lstrip()) in map(without_punctuation, aliases)
    original = normalize_triviaqa(answer) in map(normalize_triviaqa, aliases)
    return {"exact_match": float(exact), "exact_match_original": float(original)}


def without_punctuation(text: str) -> str:
    """Return the text in lower case, without ASCII punctuation."""
    return text.lower().translate(_NO_PUNCTUATION)


def normalize_triviaqa(text: str) -> str:
    """Normalise an answer as the script of TriviaQA (arXiv 1705.03551) does."""
    words = text.lower().translate(_PUNCTUATION_TO_SPACES)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", words).split())


def humaneval_program(row: Row, completion: str) -> str:
    """Return prompt, completion and tests as one program."""
    body = cut_at(completion, HUMANEVAL_STOPS)
    check = f"check({row['entry_point']})"
    return f"{row['prompt']}{body}\n{row['test']}\n{check}"


def mbpp_prompt(row: Row) -> str:
    """Return the question of a MBPP task with its three tests (arXiv 2108.07732)."""
    tests = "\n".join(row["test_list"][:3])
    return (
        "You are an expert Python programmer, and here is your task: "
        f"{row['text']} Your code should pass these tests:\n\n{tests}\n[BEGIN]\n"
    )


def mbpp_program(row: Row, completion: str) -> str:
    """Return the completion and its three tests as one program."""
    return "\n".join([cut_at(completion, MBPP_STOPS), *row["test_list"][:3]])


def cut_at(text: str, stops: Sequence[str]) -> str:
    """Return the text before the first stop string."""
    return min((text.split(stop, 1)[0] for stop in stops), key=len)


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """Return the unbiased probability that one of `k` samples passes (arXiv 2107.03374)."""
    failed = num_samples - num_passed
    if failed < k:
        return 1.0
    return 1 - math.prod(1 - k / i for i in range(failed + 1, num_samples + 1))
