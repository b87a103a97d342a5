from itertools import combinations

import pytest

from yxanul.eval.answers import (
    cut_at,
    humaneval_program,
    mbpp_program,
    mbpp_prompt,
    normalize_triviaqa,
    pass_at_k,
    score_gsm8k,
    score_triviaqa,
)


@pytest.mark.parametrize(
    ("gold", "answer", "strict", "flexible"),
    [
        # Worked out by hand from the patterns of lm-evaluation-harness.
        ("18", " 16 - 3 = 13\n#### 18", 1, 1),
        ("18", "#### 18.", 1, 1),
        ("18", "#### $18", 0, 1),  # strict takes no dollar sign
        ("18", "She makes $18.", 0, 1),
        ("18", "She makes $18.00 a day", 0, 0),
        ("1,800", "#### 1800", 1, 1),
        ("1800", "#### 1,800", 1, 1),
        ("1800", "That is $1,800.", 0, 1),
        ("-5", "#### -5", 1, 1),
        ("7", "so 7", 0, 1),
        ("7", "so 7.", 0, 1),
        ("18", "#### 18\n\nQuestion 2: 3 ... 4", 1, 0),  # first against last
        ("18", "#### 17\n#### 18", 0, 1),
        ("18", "18 ...", 0, 0),  # an ellipsis matches the flexible pattern
        ("18", "####18", 0, 1),
        ("18", "no number", 0, 0),
        ("18", "", 0, 0),
        ("0.5", "#### 0.5", 1, 1),
    ],
)
def test_gsm8k(gold, answer, strict, flexible):
    scores = score_gsm8k({"answer": f"1 + 1 = <<1+1=2>>2, $3\n#### {gold}"}, answer)
    assert scores == {"exact_match_strict": strict, "exact_match_flexible": flexible}


@pytest.mark.parametrize(
    ("answer", "exact", "original"),
    [
        (" Onion", 1, 1),
        ("ONION", 1, 1),
        (" 'onion'", 1, 1),
        (" the onion", 0, 1),
        (" an  Onion ", 0, 1),
        (" Bulb onion", 1, 1),
        (" bulb-onion", 0, 1),  # a hyphen is a blank in the original, nothing in lm-eval
        (" bulb_onion", 0, 1),
        (" half ripe", 0, 1),
        (" halfripe", 1, 0),
        (" onion rings", 0, 0),
        ("", 0, 0),
    ],
)
def test_triviaqa(answer, exact, original):
    aliases = ["Onion", "Bulb onion", "half-ripe"]
    expected = {"exact_match": exact, "exact_match_original": original}
    assert score_triviaqa({"answer": "Onion", "aliases": aliases}, answer) == expected
    hub_row = {"answer": {"value": "Onion", "aliases": aliases}}
    assert score_triviaqa(hub_row, answer) == expected


def test_normalisation_of_triviaqa():
    assert normalize_triviaqa(" The  Beatles’_an A-Team (theatre)! ") == "beatles team theatre"


def test_humaneval_program():
    document = {
        "prompt": "def add(a, b):\n",
        "entry_point": "add",
        "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    }
    program = humaneval_program(document, "    return a + b\n\ndef other(): pass")
    assert program == (
        "def add(a, b):\n    return a + b\n\n"
        "def check(candidate):\n    assert candidate(1, 2) == 3\n\ncheck(add)"
    )
    exec(program, {})


MBPP = {
    "task_id": 2,
    "text": "Write a function to add.",
    "code": "def add(a, b):\n  return a + b",
    "test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 0", "assert add(2, 2) == 4"],
}


def test_mbpp_prompt_and_program():
    assert mbpp_prompt(MBPP) == (
        "You are an expert Python programmer, and here is your task: Write a function to add. Your "
        "code should pass these tests:\n\nassert add(1, 2) == 3\nassert add(0, 0) == 0\n"
        "assert add(2, 2) == 4\n[BEGIN]\n"
    )
    program = mbpp_program(MBPP, f"{MBPP['code']}\n[DONE]\nmore")
    assert program == (
        "def add(a, b):\n  return a + b\n\n"
        "assert add(1, 2) == 3\nassert add(0, 0) == 0\nassert add(2, 2) == 4"
    )
    exec(program, {})


def test_text_is_cut_at_the_first_stop_string():
    assert cut_at("a\n#b\ndef c", ("\ndef", "\n#")) == "a"
    assert cut_at("no stop", ("\ndef", "\n#")) == "no stop"
    assert cut_at("\ndef x", ("\ndef",)) == ""


@pytest.mark.parametrize(("num_samples", "num_passed"), [(1, 0), (1, 1), (6, 2), (6, 0), (6, 6)])
def test_pass_at_k_is_the_share_of_draws_with_a_pass(num_samples, num_passed):
    samples = [n < num_passed for n in range(num_samples)]
    for k in range(1, num_samples + 1):
        draws = list(combinations(samples, k))
        share = sum(map(any, draws)) / len(draws)
        assert pass_at_k(num_samples, num_passed, k) == pytest.approx(share)
