"""Rules by which a generated answer is judged; as lm-evaluation-harness 0.4.13 where it has one."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

Document = Mapping[str, Any]
"""A row of a benchmark, with the fields of its hub dataset."""

HUMANEVAL_STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
MBPP_STOPS = ("[DONE]",)

_STRICT_NUMBER = re.compile(r"#### (-?[0-9.,]+)")
_ANY_NUMBER = re.compile(r"-?[$0-9.,]{2,}|-?[0-9]+")
_NOT_OF_A_NUMBER = re.compile(r"[,$]|.*#### ", re.DOTALL)
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_PUNCTUATION_TO_BLANKS = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))


def score_gsm8k(document: Document, answer: str) -> dict[str, float]:
    """Compare the final number: strict, the first after "#### "; flexible, the last of all."""
    gold = plain_number(document["answer"])
    strict = map(plain_number, _STRICT_NUMBER.findall(answer)[:1])
    flexible = map(plain_number, _ANY_NUMBER.findall(answer)[-1:])
    return {
        "exact_match_strict": float(gold in strict),
        "exact_match_flexible": float(gold in flexible),
    }


def plain_number(text: str) -> str:
    """Return a number, or the one after "#### ", without commas, dollar signs and a final dot."""
    return _NOT_OF_A_NUMBER.sub("", text).removesuffix(".")


def triviaqa_prompt(document: Document) -> str:
    """Return the question; one of the hub gets a second question mark, as in the harness."""
    return document.get("context") or f"Question: {document['question']}?\nAnswer:"


def triviaqa_aliases(document: Document) -> list[str]:
    """Return the accepted answers, the usual one first."""
    answer = document["answer"]
    own = answer if isinstance(answer, Mapping) else {**document, "value": answer}
    return [own["value"], *own["aliases"]]


def score_triviaqa(document: Document, answer: str) -> dict[str, float]:
    """Compare with every alias: punctuation and case are ignored; in the original rule of the
    dataset also articles and the number of blanks."""
    aliases = triviaqa_aliases(document)
    exact = without_punctuation(answer.lstrip()) in map(without_punctuation, aliases)
    original = normalize_triviaqa(answer) in map(normalize_triviaqa, aliases)
    return {"exact_match": float(exact), "exact_match_original": float(original)}


def without_punctuation(text: str) -> str:
    """Return the text in lower case, without ASCII punctuation."""
    return text.lower().translate(_NO_PUNCTUATION)


def normalize_triviaqa(text: str) -> str:
    """Normalise an answer as the script of TriviaQA (arXiv 1705.03551) does."""
    words = text.lower().translate(_PUNCTUATION_TO_BLANKS)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", words).split())


def humaneval_program(document: Document, completion: str) -> str:
    """Return prompt, completion and tests as one program."""
    body = cut_at(completion, HUMANEVAL_STOPS)
    check = f"check({document['entry_point']})"
    return f"{document['prompt']}{body}\n{document['test']}\n{check}"


def mbpp_prompt(document: Document) -> str:
    """Return the question of a MBPP task with its three tests (arXiv 2108.07732)."""
    tests = "\n".join(document["test_list"][:3])
    return (
        "You are an expert Python programmer, and here is your task: "
        f"{document['text']} Your code should pass these tests:\n\n{tests}\n[BEGIN]\n"
    )


def mbpp_program(document: Document, completion: str) -> str:
    """Return the completion and its three tests as one program."""
    return "\n".join([cut_at(completion, MBPP_STOPS), *document["test_list"][:3]])


def cut_at(text: str, stops: Sequence[str]) -> str:
    """Return the text before the first stop string."""
    return min((text.split(stop, 1)[0] for stop in stops), key=len)


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """Return the unbiased probability that one of `k` samples passes (arXiv 2107.03374)."""
    failed = num_samples - num_passed
    if failed < k:
        return 1.0
    return 1 - math.prod(1 - k / i for i in range(failed + 1, num_samples + 1))


def mean_and_stderr(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error; NaN for a single value."""
    stderr = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return fmean(values), stderr
