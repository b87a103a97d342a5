import gzip
import json
from dataclasses import replace
from functools import partial

import pytest
import torch

from yxanul.base.errors import YxanulError
from yxanul.base.ui import SilentUi
from yxanul.eval import cached_model
from yxanul.eval.generated import (
    GENERATED_TASKS,
    Completions,
    GeneratedTask,
    build_prompts,
    score_answers,
)
from yxanul.eval.sandbox import ProgramResult, isolation_problem, run_programs
from yxanul.generate.config import SampleSettings
from yxanul.generate.decode import complete
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import ByteSettings

MAX_SEQ_LEN = 48
GREEDY = SampleSettings(temperature=0)
PROMPTS = ["Once upon a time", "x", "A longer beginning of a tale", "", "Es war", "x"]
PLAIN = GeneratedTask("none", prompt=str, target=str, stop=("q", "\x07"), max_tokens=12)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(ByteSettings(), lambda: [], SilentUi())


@pytest.fixture(scope="module")
def model(tokenizer):
    shape = {"width": 32, "depth": 2, "num_heads": 2, "init_std": 0.3}
    settings = ModelSettings(**shape, max_seq_len=MAX_SEQ_LEN, vocab_size=tokenizer.vocab_size)
    model = LanguageModel(settings)
    model.init_weights(torch.Generator().manual_seed(1))
    return model


def answers_of(model, tokenizer, settings, task, prompts):
    """Return the answers in the order of the prompts."""
    todo, answers = dict(enumerate(prompts)), {}
    for batch in cached_model.generate_answers(
        model, tokenizer, settings, model.settings.max_seq_len, task, todo
    ):
        answers |= batch
    return [answers[number] for number in todo]


def alone(model, tokenizer, prompt, settings, task=PLAIN):
    own = {"max_tokens": task.max_tokens, "stop": task.stop}
    return tuple(
        one.text for one in complete(model, tokenizer, prompt, settings.model_copy(update=own))
    )


@pytest.mark.parametrize("batch_tokens", [1, 60, 10_000])
def test_greedy_answers_are_those_of_each_prompt_alone(model, tokenizer, batch_tokens, monkeypatch):
    monkeypatch.setattr(cached_model, "ANSWER_BATCH_TOKENS", batch_tokens)
    answers = answers_of(model, tokenizer, GREEDY, PLAIN, PROMPTS)
    assert [a.texts for a in answers] == [alone(model, tokenizer, p, GREEDY) for p in PROMPTS]
    assert len({a.texts for a in answers}) > 2
    assert {a.cut_tokens for a in answers} == {0}


def test_samples_depend_on_the_seed_and_the_number_of_the_document_only(model, tokenizer):
    def generate(prompts, **fields):
        settings = SampleSettings(**{"num_samples": 3, "seed": 5, **fields})
        return answers_of(model, tokenizer, settings, PLAIN, prompts)

    whole = generate(PROMPTS)
    assert all(len(set(answer.texts)) == 3 for answer in whole)
    assert generate(PROMPTS[:2]) == whole[:2]
    assert generate(["other", *PROMPTS[1:3]])[1:] == whole[1:3]
    assert whole[1].texts != whole[5].texts  # the same prompt
    first = generate(PROMPTS, num_samples=1)
    assert [answer.texts for answer in first] == [answer.texts[:1] for answer in whole]
    assert generate(PROMPTS, seed=6) != whole


def test_a_long_prompt_loses_its_start(model, tokenizer):
    prompt = "".join(chr(65 + n % 26) for n in range(100))
    (answer,) = answers_of(model, tokenizer, GREEDY, PLAIN, [prompt])
    # 101 tokens with bos, and room for 48 - 12; bos is lost first, so it is put where it was.
    assert answer.cut_tokens == 101 - 36
    (other,) = answers_of(model, tokenizer, GREEDY, PLAIN, ["#" * 50 + prompt[-36:]])
    assert other.texts == answer.texts
    assert answer.texts != answers_of(model, tokenizer, GREEDY, PLAIN, ["A"])[0].texts


def test_answers_take_at_most_half_of_the_context(model, tokenizer):
    task = replace(PLAIN, max_tokens=1024, stop=("\x00\x00",))
    (answer,) = answers_of(model, tokenizer, GREEDY, task, ["x" * 40])
    assert answer.cut_tokens == 41 - MAX_SEQ_LEN // 2
    assert len(tokenizer.encode(answer.texts[0])) <= MAX_SEQ_LEN // 2 * 3  # U+FFFD is 3 bytes


def test_greedy_samples_are_refused(model, tokenizer):
    with pytest.raises(YxanulError, match="got 2 samples"):
        answers_of(model, tokenizer, SampleSettings(temperature=0, num_samples=2), PLAIN, ["x"])


def result_of(task, documents, texts, shots=(), num_fewshot=0, execute=None):
    """Score the given texts as the answers to the documents."""
    prompts = build_prompts(task, documents, shots, num_fewshot)
    return score_answers(task, documents, prompts, [Completions(one) for one in texts], execute)


GSM8K = [{"question": f"{n} + {n}?", "answer": f"Think.\n#### {2 * n}"} for n in range(12)]


def test_gsm8k_from_prompt_to_score():
    shots = [{"question": f"s{n}", "answer": f"#### {n}"} for n in range(40)]
    answers = [(" #### 0",), (" 2",), (" 5",)]
    result = result_of(GENERATED_TASKS["gsm8k"], GSM8K[:3], answers, shots, 5)
    assert [record.scores["exact_match_strict"] for record in result.records] == [1, 0, 0]
    assert [record.scores["exact_match_flexible"] for record in result.records] == [1, 1, 0]
    assert result.metrics["exact_match_strict"] == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    parts = result.records[1].prompt.split("\n\n")
    assert len(parts) == 6
    assert parts[-1] == "Question: 1 + 1?\nAnswer:"
    numbers = [part.removeprefix("Question: s").split("\n")[0] for part in parts[:5]]
    assert parts[:5] == [f"Question: s{n}\nAnswer: #### {n}" for n in numbers]
    assert len(set(numbers)) == 5
    others = result.records[2].prompt
    assert others.split("\n\n")[:5] != parts[:5]  # drawn anew for each document


def test_a_document_is_not_its_own_shot():
    prompts, again = (
        build_prompts(GENERATED_TASKS["gsm8k"], GSM8K, GSM8K, len(GSM8K) - 1) for _ in range(2)
    )
    for document, prompt in zip(GSM8K, prompts, strict=True):
        assert prompt.count(f"Question: {document['question']}\n") == 1
        assert prompt.endswith(f"Question: {document['question']}\nAnswer:")
        assert prompt.count("Question:") == len(GSM8K)
    assert prompts == again


def test_too_few_shots_are_one_line():
    with pytest.raises(YxanulError, match="got 4; expected 5"):
        build_prompts(GENERATED_TASKS["gsm8k"], GSM8K[4:], GSM8K[:4], 5)
    with pytest.raises(YxanulError, match="got 4; expected 5"):
        build_prompts(GENERATED_TASKS["gsm8k"], GSM8K[:5], GSM8K[:5], 5)
    with pytest.raises(YxanulError, match="got 1; expected 3"):
        build_prompts(GENERATED_TASKS["mbpp"], [mbpp(11)], [mbpp(3), mbpp(5)], 3)


def test_triviaqa_of_both_layouts():
    file_row = {"context": "Question: Which?\nAnswer:", "answer": "Onion", "aliases": ["Onions"]}
    hub_row = {"question": "Which", "answer": {"value": "Onion", "aliases": ["Onions"]}}
    rows, answers = [file_row, hub_row], [(" onions",), (" the onion",)]
    result = result_of(GENERATED_TASKS["triviaqa"], rows, answers, rows, 1)
    shot, question = "Question: Which?\nAnswer: Onion\n\n", "Question: Which?\nAnswer:"
    assert [record.prompt for record in result.records] == [shot + question] * 2
    assert [record.scores["exact_match"] for record in result.records] == [1, 0]
    assert [record.scores["exact_match_original"] for record in result.records] == [1, 1]


def mbpp(number):
    return {
        "task_id": number,
        "text": f"Write a function {number}.",
        "code": f"def f(): return {number}",
        "test_list": [f"assert f() == {number}", "assert f() != None", "assert f()"],
    }


def test_mbpp_has_its_three_shots():
    shots = [mbpp(n) for n in range(11)]
    (prompt,) = build_prompts(GENERATED_TASKS["mbpp"], [mbpp(11)], shots, 3)
    shots = prompt.split("\n\nYou are")
    assert [shot[shot.index("task: ") :].splitlines()[0] for shot in shots] == [
        f"task: Write a function {n}. Your code should pass these tests:" for n in (2, 3, 4, 11)
    ]
    assert shots[0].endswith("assert f()\n[BEGIN]\ndef f(): return 2\n[DONE]")
    assert prompt.endswith("assert f()\n[BEGIN]\n")


def test_pass_rates_of_several_samples():
    def execute(programs):
        assert len(programs) == 20
        return [ProgramResult("passed" if "return 11" in p else "failed", "") for p in programs]

    right, wrong = "def f(): return 11", "def f(): return 0"
    answers, rows = [(right, *[wrong] * 9), (wrong,) * 10], [mbpp(11), mbpp(12)]
    result = result_of(GENERATED_TASKS["mbpp"], rows, answers, execute=execute)
    assert result.records[0].scores == {"pass@1": pytest.approx(0.1), "pass@10": 1.0}
    assert result.records[1].scores == {"pass@1": 0.0, "pass@10": 0.0}
    assert result.metrics["pass@1"] == (pytest.approx(0.05), pytest.approx(0.05))
    assert [o.status for o in result.records[0].outcomes] == ["passed", *["failed"] * 9]


def test_humaneval_in_the_sandbox(shared_data):
    if isolation_problem():
        pytest.skip(f"no namespaces on this machine: {isolation_problem()}")
    with gzip.open(shared_data / "code" / "HumanEval.jsonl.gz", "rt") as lines:
        documents = [json.loads(next(lines)) for _ in range(3)]
    solutions = [document["canonical_solution"] for document in documents]
    answers = [(solutions[0],), (solutions[0],), (solutions[2] + "\nprint('no more')",)]
    execute = partial(run_programs, workers=2, seconds=60.0)
    result = result_of(GENERATED_TASKS["humaneval"], documents, answers, execute=execute)
    assert [record.scores["pass@1"] for record in result.records] == [1, 0, 1]
    assert result.records[1].outcomes[0].reason
    assert [record.prompt for record in result.records] == [d["prompt"] for d in documents]


@pytest.mark.parametrize("name", GENERATED_TASKS)
def test_a_tiny_model_goes_through_every_task(name, model, tokenizer):
    rows = {
        "gsm8k": GSM8K,
        "triviaqa": [{"context": "Q", "answer": "a", "aliases": []}] * 2,
        "humaneval": [{"prompt": "def f():\n", "entry_point": "f", "test": "def check(f): pass"}],
        "mbpp": [mbpp(11), mbpp(12)],
    }

    def execute(programs):
        return [ProgramResult("failed", "not run") for _ in programs]

    task = GENERATED_TASKS[name]
    shots = [*rows[name], *[mbpp(n) for n in range(2, 5)]] if name == "mbpp" else rows[name]
    prompts = build_prompts(task, rows[name], shots, task.num_fewshot or 0)
    answers = answers_of(model, tokenizer, GREEDY, task, prompts)
    result = score_answers(task, rows[name], prompts, answers, execute)
    assert len(result.records) == len(rows[name])
    assert all(0 <= mean <= 1 for mean, _ in result.metrics.values())
    assert set(result.records[0].scores) == set(result.metrics)
