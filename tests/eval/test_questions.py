"""Rows of each test set, of the hub and of files, as they are asked."""

import pytest

from yxanul.eval import questions
from yxanul.eval.questions import Question
from yxanul.eval.tasks import TASKS

ARC = Question(("Question: What is wet?\nAnswer:",), ("Water", "Dust"), 1)
PIQA = Question(("Question: Get wet\nAnswer:",), ("Swim", "Dry"), 0)
WINO = Question(("Ann saw Bo, so Ann", "Ann saw Bo, so Bo"), ("waved back.",), 1)
BOOK = Question(("Fog is",), ("wet", "dry"), 0)
COPA = Question(("It rained therefore",), ("the sun shone.", "we got wet."), 1)
CSQA = Question(("Question: Where?\nA. here\nB. there\nAnswer:",), ("A", "B"), 1)
BOOLQ = Question(("Rain is water.\nQuestion: is rain wet?\nAnswer:",), ("no", "yes"), 1)
LAMBADA = Question(("We met in the",), ("rain",), 0)
ROWS = {
    "arc_easy": [
        ({"query": "Question: What is wet?", "choices": ["Water", "Dust"], "gold": 1}, ARC),
        (
            {
                "question": "What is wet?",
                "choices": {"text": ["Water", "Dust"], "label": ["1", "2"]},
                "answerKey": "2",
            },
            ARC,
        ),
    ],
    "piqa": [
        ({"query": "Question: Get wet\n", "choices": ["Swim", "Dry"], "gold": 0}, PIQA),
        ({"goal": "Get wet", "sol1": "Swim", "sol2": "Dry", "label": 0}, PIQA),
    ],
    "winogrande": [
        (
            {"context_options": list(WINO.contexts), "continuation": "waved back.", "gold": 1},
            WINO,
        ),
        (
            {
                "sentence": "Ann saw Bo, so _ waved back.",
                "option1": "Ann",
                "option2": "Bo",
                "answer": "2",
            },
            WINO,
        ),
    ],
    "openbookqa": [
        ({"query": "Fog is", "choices": ["wet", "dry"], "gold": 0}, BOOK),
        (
            {
                "question_stem": "Fog is",
                "choices": {"text": ["wet", "dry"], "label": ["A", "B"]},
                "answerKey": "A",
            },
            BOOK,
        ),
    ],
    "copa": [
        ({"query": "It rained, therefore", "choices": list(COPA.continuations), "gold": 1}, COPA),
        (
            {
                "premise": "It rained.",
                "question": "effect",
                "choice1": "The sun shone.",
                "choice2": "We got wet.",
                "label": 1,
            },
            COPA,
        ),
    ],
    "commonsense_qa": [
        (
            {
                "query": "Question: Where?\nChoices:\nA. here\nB. there\nAnswer:",
                "choices": ["A", "B"],
                "gold": 1,
            },
            CSQA,
        ),
        (
            {
                "question": "Where?",
                "choices": {"text": ["here", "there"], "label": ["A", "B"]},
                "answerKey": "B",
            },
            CSQA,
        ),
    ],
    "boolq": [
        (
            {
                "query": "Passage: Rain is water.\nQuestion: is rain wet?",
                "choices": ["no", "yes"],
                "gold": 1,
            },
            BOOLQ,
        ),
        ({"passage": "Rain is water.", "question": "is rain wet", "label": 1}, BOOLQ),
    ],
    "lambada_openai": [
        ({"context": "We met in the", "continuation": "rain"}, LAMBADA),
        ({"text": "We met in the rain"}, LAMBADA),
    ],
    "sciq": [
        (
            {
                "support": " Rain falls.",
                "question": "What falls?",
                "distractor1": "a",
                "distractor2": "b",
                "distractor3": "c",
                "correct_answer": "rain",
            },
            Question(("Rain falls.\nQuestion: What falls?\nAnswer:",), ("a", "b", "c", "rain"), 3),
        )
    ],
    "hellaswag": [
        (
            {
                "activity_label": "Roofs",
                "ctx_a": "A man [sits].",
                "ctx_b": "he",
                "endings": ["is [up] high [title] Go", "flies."],
                "label": "1",
            },
            Question(("Roofs: A man . He",), ("is high. Go", "flies."), 1),
        ),
        (
            {"ctx": "Roofs: A man sits. he", "endings": ["is high.", "flies."], "label": 1},
            Question(("Roofs: A man sits. He",), ("is high.", "flies."), 1),
        ),
        (
            {"query": "Roofs: A man sits. He", "choices": ["is high.", "flies."], "gold": 1},
            Question(("Roofs: A man sits. He",), ("is high.", "flies."), 1),
        ),
    ],
    "blimp": [
        (
            {"sentence_good": "It rains.", "sentence_bad": "It rain.", "UID": "agreement"},
            Question(("",), ("It rains.", "It rain."), 0, "agreement"),
        )
    ],
    "gsm8k_gold": [
        (
            {"question": "1 + 1?", "answer": "It is 2.\n#### 2"},
            Question(("Question: 1 + 1?\nAnswer:",), ("It is 2.\n#### 2",)),
        )
    ],
    "humaneval_gold": [
        (
            {"prompt": "def f():\n", "canonical_solution": "    return 1\n", "test": ""},
            Question(("def f():\n",), ("    return 1\n",)),
        )
    ],
    "wikitext": [
        ({"page": " A @-@ b . \n"}, Question(("",), (" A-b.\n",), page=" A @-@ b . \n")),
    ],
}
SAME_LAYOUT = {
    "arc_challenge": "arc_easy", "winograd": "winogrande", "bigbench_qa_wikidata": "lambada_openai",
    "arithmetic": "lambada_openai",
}  # fmt: skip


def test_every_task_has_examples():
    assert set(ROWS) | set(SAME_LAYOUT) == set(TASKS)


@pytest.mark.parametrize("name", ROWS)
def test_rows_become_questions(name):
    for row, question in ROWS[name]:
        assert TASKS[name].parse(row) == question


@pytest.mark.parametrize("name", SAME_LAYOUT)
def test_rows_of_the_same_layout(name):
    row, question = ROWS[SAME_LAYOUT[name]][0]
    assert TASKS[name].parse(row) == question


@pytest.mark.parametrize(
    "row",
    [
        {"query": "q", "choices": ["a", "b"], "gold": 2},
        {"query": "q", "choices": ["a", ""], "gold": 0},
        {"query": 3, "choices": ["a", "b"], "gold": 0},
        {"context": "c", "continuation": ""},
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(row):
    with pytest.raises(ValueError, match=r"choice"):
        questions.core_row(row)
