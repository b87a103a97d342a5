"""Tasks from files to metrics."""

import gzip
import json
import math
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from yxanul.base.errors import YxanulError
from yxanul.base.metric_names import check_metric
from yxanul.base.ui import SilentUi
from yxanul.eval import TaskOptions, cached_model, evaluate, run_tasks
from yxanul.eval.cached_model import CachedModel
from yxanul.eval.generated import GENERATED_TASKS
from yxanul.eval.questions import Question
from yxanul.eval.run_tasks import (
    ALL_TASKS,
    check_shots,
    limited,
    read_rows,
    shots_by_document,
    split_by_file,
)
from yxanul.eval.sandbox import ProgramResult
from yxanul.eval.tasks import METRICS, TASKS, Answer, best_share, estimate
from yxanul.generate.config import SampleSettings
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import ByteSettings

CHOICES = [
    {"query": f"Question: What is {n} + 1?", "choices": [str(n + 1), str(n), "none"], "gold": n % 3}
    for n in range(12)
]
PAIRS = [{"sentence_good": f"It rains {n}.", "sentence_bad": f"It rain {n}."} for n in range(5)]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(ByteSettings(), lambda: [], SilentUi())


@pytest.fixture(scope="module")
def model(tokenizer):
    shape = {"width": 32, "depth": 2, "num_heads": 2, "max_seq_len": 256, "init_std": 0.2}
    model = LanguageModel(ModelSettings(**shape, vocab_size=tokenizer.vocab_size))
    model.init_weights(torch.Generator().manual_seed(3))
    return model.eval()


@pytest.fixture
def folder(tmp_path):
    """Files of tasks: packed and plain, in folders."""
    (tmp_path / "core").mkdir()
    lines = "\n".join(map(json.dumps, CHOICES))
    (tmp_path / "core" / "arc_easy.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "blimp").mkdir()
    for name in ("one", "two"):
        rows = [{**pair, "UID": name} for pair in PAIRS]
        (tmp_path / "blimp" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rows = [{"context": "The cat sat on the", "continuation": word} for word in ("mat", "hat")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "lambada_openai.parquet")
    return tmp_path


def by_hand(model, tokenizer, context, continuation):
    """Return log-likelihood and greediness of a byte-level continuation."""
    ids = tokenizer.encode(context) or [tokenizer.end_of_text_id]
    target = tokenizer.encode(continuation)
    with torch.no_grad():
        logits = model.logits(model.hidden(torch.tensor([[*ids, *target[:-1]]])))[0]
    rows, target = logits.log_softmax(-1)[-len(target) :], torch.tensor(target)
    return float(rows.gather(1, target[:, None]).sum()), bool((rows.argmax(1) == target).all())


def test_figures_are_those_by_hand(model, tokenizer, folder):
    results = evaluate(model, tokenizer, ["arc_easy", "blimp", "lambada_openai"], folder)
    right = right_norm = 0
    for row in CHOICES:
        nats = [by_hand(model, tokenizer, f"{row['query']}\nAnswer:", f" {choice}")[0]
                for choice in row["choices"]]  # fmt: skip
        right += nats.index(max(nats)) == row["gold"]
        norm = [one / len(choice) for one, choice in zip(nats, row["choices"], strict=True)]
        right_norm += norm.index(max(norm)) == row["gold"]
    arc = results["arc_easy"]
    assert arc.metrics["accuracy"].value == pytest.approx(right / 12)
    assert arc.metrics["accuracy_norm"].value == pytest.approx(right_norm / 12)
    p = right / 12
    assert arc.metrics["accuracy"].stderr == pytest.approx(math.sqrt(p * (1 - p) / 11))
    assert arc.chance == pytest.approx(1 / 3)
    better = [
        by_hand(model, tokenizer, "", f" {pair['sentence_good']}")[0]
        > by_hand(model, tokenizer, "", f" {pair['sentence_bad']}")[0]
        for pair in PAIRS
    ]
    blimp = results["blimp"]
    assert blimp.metrics["accuracy"].value == pytest.approx(sum(better) / 5)
    assert blimp.groups == {"one": sum(better) / 5, "two": sum(better) / 5}
    scores = [by_hand(model, tokenizer, "The cat sat on the", f" {w}") for w in ("mat", "hat")]
    lambada = results["lambada_openai"].to_dict()
    ppl = math.exp(-sum(nats for nats, _ in scores) / 2)
    assert lambada["perplexity"] == pytest.approx(ppl, rel=1e-4)
    assert lambada["accuracy"] == sum(greedy for _, greedy in scores) / 2
    assert (lambada["documents"], lambada["chance"]) == (2, 0.0)


def test_ties_count_in_parts():
    tied = Answer(Question(("",), ("a", "b", "cc")), [-2.0, -2.0, -4.0], [False] * 3)
    assert METRICS["accuracy"](tied) == 1 / 2
    assert METRICS["accuracy_norm"](tied) == 1 / 3
    lost = Answer(Question(("",), ("a", "b"), 1), [-1.0, -2.0], [False] * 2)
    assert METRICS["accuracy"](lost) == 0


def test_bits_per_byte_is_of_the_answer_without_the_delimiter():
    answer = Answer(Question(("q",), ("né",)), [-3 * 4 * math.log(2)], [False])
    assert METRICS["bits_per_byte"](answer) == pytest.approx(4)


def test_perplexity_never_overflows():
    assert estimate("perplexity", [2000.0, 2000.0]).value == math.inf
    assert math.isnan(estimate("perplexity", [math.nan, 1.0]).value)
    assert math.isnan(best_share([1.0, math.nan], 0)) and math.isnan(best_share([math.nan, 1.0], 1))


def test_mean_and_standard_error():
    assert estimate("accuracy", [0, 1, 1, 0]) == (0.5, pytest.approx(math.sqrt(1 / 3 / 4)))
    assert estimate("accuracy", [1.0, 1.0]) == (1.0, 0.0)
    assert math.isnan(estimate("accuracy", [1.0]).stderr)


def test_shots_are_other_documents_solved(model, tokenizer, folder, monkeypatch):
    asked = []
    score = CachedModel.score
    monkeypatch.setattr(
        CachedModel,
        "score",
        lambda self, requests, bar: asked.extend(requests) or score(self, requests, bar),
    )
    options = TaskOptions(num_fewshot=2, seq_len=1000, limit=6)
    results = evaluate(model_of_length(model, 1000), tokenizer, ["arc_easy"], folder, options)
    assert len(results["arc_easy"].answers) == 6
    for request in asked:
        *shots, question = tokenizer.decode([*request.context, *request.continuation]).split("\n\n")
        solved = {f"{row['query']}\nAnswer: {row['choices'][row['gold']]}" for row in CHOICES}
        assert len(set(shots)) == 2 and set(shots) < solved
        assert question.partition("\nAnswer:")[0] not in "".join(shots)
    asked.clear()
    (folder / "wikitext.jsonl").write_text('{"page": "Rain ."}')
    (folder / "triviaqa.jsonl").write_text("")
    for last in ("arc_easy", "triviaqa"):
        with pytest.raises(YxanulError, match=f"{last} .* for 2 shots; got 2"):
            tasks = ["wikitext", last]
            evaluate(model, tokenizer, tasks, folder, TaskOptions(limit=2, num_fewshot=2))
    assert not asked
    with pytest.raises(YxanulError, match="for 12 shots"):
        evaluate(model, tokenizer, ["arc_easy"], folder, TaskOptions(num_fewshot=12))


@pytest.mark.parametrize("name", ALL_TASKS)
def test_every_metric_of_a_task_is_known_by_name(name):
    assert all(check_metric(f"task/{name}/{metric}") for metric in ALL_TASKS[name].metrics)


def test_shots_are_fixed_for_some_tasks():
    warned = []
    ui = SilentUi()
    ui.warn = warned.append
    tasks = {name: ALL_TASKS[name] for name in ("arc_easy", "gsm8k", "humaneval", "wikitext")}
    for asked, unused in [
        (0, []),
        (1, ["gsm8k, humaneval, wikitext"]),
        (5, ["humaneval, wikitext"]),
    ]:
        check_shots(tasks, TaskOptions(num_fewshot=asked, limit=8), ui)
        assert [line.rpartition(": ")[2] for line in warned] == unused
        warned.clear()
    # Those of GSM8K come from a set of their own.
    check_shots(tasks, TaskOptions(limit=1), ui)


def model_of_length(model, length):
    """Return a model with the same weights for longer texts."""
    longer = LanguageModel(model.settings.model_copy(update={"max_seq_len": length}))
    longer.load_state_dict(model.state_dict())
    return longer.eval()


def test_shots_are_those_of_nanochat():
    import random

    for index, shots in enumerate(shots_by_document(7, 3, "x")):
        others = [n for n in range(7) if n != index]
        assert shots == random.Random(1234 + index).sample(others, 3)


def test_a_limit_draws_from_all_documents():
    items = list(range(100))
    some = limited(items, 10)
    assert some == limited(items, None)[:10] and sorted(limited(items, None)) == items
    assert max(some) > 50


def test_the_same_evaluation_reads_its_scores(model, tokenizer, folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    first = evaluate(model, tokenizer, ["arc_easy"], folder, cache=cache)
    (file,) = cache.rglob("*.jsonl")
    # As if it was killed: some scores are missing, and a line breaks off.
    lines = file.read_text().splitlines()
    file.write_bytes("\n".join(lines[:20]).encode() + b"\n\xff7\n7\n[3, -1")
    scored = []
    hidden = model.hidden
    monkeypatch.setattr(
        model, "hidden", lambda ids, **options: scored.append(len(ids)) or hidden(ids, **options)
    )
    again = evaluate(model, tokenizer, ["arc_easy"], folder, cache=cache)
    assert again["arc_easy"].to_dict() == pytest.approx(first["arc_easy"].to_dict())
    assert scored
    scored.clear()
    evaluate(model, tokenizer, ["arc_easy"], folder, cache=cache)
    assert not scored
    evaluate(model, tokenizer, ["arc_easy"], folder, TaskOptions(seq_len=20), cache)
    assert scored


def test_other_weights_have_scores_of_their_own(model, tokenizer, folder, tmp_path):
    cache = tmp_path / "cache"
    other = model_of_length(model, 256)
    with torch.no_grad():
        other.embedding.tokens[0, 0] += 1
    one = evaluate(model, tokenizer, ["lambada_openai"], folder, cache=cache)["lambada_openai"]
    two = evaluate(other, tokenizer, ["lambada_openai"], folder, cache=cache)["lambada_openai"]
    assert len(list(cache.iterdir())) == 2
    assert one.metrics["perplexity"] != two.metrics["perplexity"]


def write_rows(file, rows):
    file.write_text("\n".join(map(json.dumps, rows)))


def test_the_same_evaluation_reads_its_answers(model, tokenizer, tmp_path, monkeypatch):
    rows = [{"context": f"Question: {n}?", "answer": "x", "aliases": []} for n in range(6)]
    write_rows(tmp_path / "triviaqa.jsonl", rows)
    asked = []
    generate = cached_model.generate_answers
    monkeypatch.setattr(
        cached_model,
        "generate_answers",
        lambda *args: asked.append(list(args[-1])) or generate(*args),
    )
    sampled = TaskOptions(sampling=SampleSettings(num_samples=2), num_fewshot=1)

    def answers():
        results = evaluate(model, tokenizer, ["triviaqa"], tmp_path, sampled, tmp_path / "cache")
        return results["triviaqa"].records

    first = answers()
    assert all(record.prompt.count("Question:") == 2 for record in first)
    (file,) = (tmp_path / "cache").rglob("*.jsonl")
    file.write_text("\n".join([*file.read_text().splitlines()[:4], '[3, ["brok']))
    assert answers() == first
    assert answers() == first
    assert asked == [[0, 1, 2, 3, 4, 5], [3, 4, 5], []]


def test_mbpp_is_asked_from_its_one_file(model, tokenizer, tmp_path, monkeypatch):
    rows = [
        {"task_id": n, "text": f"Task {n}.", "code": f"x = {n}", "test_list": ["assert x"] * 3}
        for n in (1, 2, 3, 4, 10, 11, 510, 511, 600)
    ]
    write_rows(tmp_path / "mbpp.jsonl", rows)
    monkeypatch.setattr(
        run_tasks, "run_programs", lambda sources, **_: [ProgramResult("passed")] * len(sources)
    )
    sampling = SampleSettings(num_samples=10)
    options = TaskOptions(sampling=sampling, allow_code=True, unsafe_code=True)
    result = evaluate(model, tokenizer, ["mbpp"], tmp_path, options)["mbpp"]
    tasks = [re.findall(r"Task (\d+)", record.prompt) for record in result.records]
    assert sorted(tasks) == [["2", "3", "4", "11"], ["2", "3", "4", "510"]]
    assert result.metrics == {"pass@1": (1, 0), "pass@10": (1, 0)}
    assert len(list(result.samples())) == 20
    write_rows(tmp_path / "mbpp.jsonl", rows[:4])
    with pytest.raises(YxanulError, match="expected a task_id from 11"):
        evaluate(model, tokenizer, ["mbpp"], tmp_path, options)
    with pytest.raises(YxanulError, match="--allow-code"):
        evaluate(model, tokenizer, ["mbpp"], tmp_path)


def test_a_wrong_file_of_a_generated_task_is_one_clear_error(model, tokenizer, tmp_path):
    write_rows(tmp_path / "triviaqa.jsonl", [{"context": "1 + 1?", "solution": "2"}])
    with pytest.raises(YxanulError, match="'answer'; got context, solution"):
        evaluate(model, tokenizer, ["triviaqa"], tmp_path)


BROKEN = {
    "truncated": (gzip.compress(json.dumps(CHOICES[0]).encode() * 50)[:-20], "is truncated"),
    "other": (b'{"question": "x", "solution": "y"}\n', "has no column 'choices'; got question"),
    "empty": (b"", "is empty"),
    "text": (b"hello\n", r"arc_easy.jsonl:1 is not a JSON object"),
    "gold": (b'{"query": "q", "choices": ["a"], "gold": 5}\n', "row 1 of .* answer 5 of 1 choices"),
    "gold_text": (b'{"query": "q", "choices": ["a"], "gold": "A"}\n', "row 1 of arc_easy.jsonl"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_wrong_file_is_one_clear_error(kind, model, tokenizer, tmp_path):
    content, message = BROKEN[kind]
    (tmp_path / "arc_easy.jsonl").write_bytes(content)
    with pytest.raises(YxanulError, match=message):
        evaluate(model, tokenizer, ["arc_easy"], tmp_path)


def test_an_endless_line_is_refused_in_bounded_memory(model, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("yxanul.text.sources.rows.MAX_VALUE_BYTES", 1000)
    (tmp_path / "arc_easy.jsonl").write_text('{"query": "' + "x" * 100_000 + '"}')
    with pytest.raises(YxanulError, match="too long"):
        evaluate(model, tokenizer, ["arc_easy"], tmp_path)


def test_a_damaged_parquet_file_is_an_error(model, tokenizer, tmp_path):
    pq.write_table(pa.Table.from_pylist(CHOICES), tmp_path / "arc_easy.parquet")
    whole = (tmp_path / "arc_easy.parquet").read_bytes()
    (tmp_path / "arc_easy.parquet").write_bytes(whole[:-30])
    with pytest.raises(YxanulError, match="truncated"):
        evaluate(model, tokenizer, ["arc_easy"], tmp_path)


def test_a_damaged_value_in_a_parquet_file_is_an_error(model, tokenizer, tmp_path):
    path = tmp_path / "arc_easy.parquet"
    plain = {"compression": "none", "use_dictionary": False}
    pq.write_table(pa.Table.from_pylist(CHOICES), path, **plain)
    data = bytearray(path.read_bytes())
    at = data.index(CHOICES[0]["query"].encode())
    data[at - 4 : at] = b"\xff" * 4  # its length
    path.write_bytes(data)
    with pytest.raises(YxanulError, match="cannot be decompressed"):
        evaluate(model, tokenizer, ["arc_easy"], tmp_path)


def test_a_missing_file_says_what_to_put_there(model, tokenizer, tmp_path):
    with pytest.raises(YxanulError, match=r"openbook_qa as \.jsonl, \.jsonl\.gz or \.parquet"):
        evaluate(model, tokenizer, ["openbookqa"], tmp_path)
    with pytest.raises(YxanulError, match="folder blimp"):
        evaluate(model, tokenizer, ["blimp"], tmp_path)
    with pytest.raises(YxanulError, match="does not exist"):
        evaluate(model, tokenizer, ["blimp"], tmp_path / "nowhere")
    with pytest.raises(YxanulError, match=r"'arc_easy'\?"):
        evaluate(model, tokenizer, ["arc_esy"], tmp_path)


def test_a_missing_file_is_known_before_anything_is_scored(model, tokenizer, folder, monkeypatch):
    scored = []
    monkeypatch.setattr(CachedModel, "score", lambda *_: scored.append(1))
    with pytest.raises(YxanulError, match="test set of piqa"):
        evaluate(model, tokenizer, ["arc_easy", "piqa"], folder)
    assert not scored


def test_sets_are_told_from_those_that_are_missing(folder):
    names = {name: TASKS[name] for name in ("arc_easy", "piqa", "blimp", "arithmetic")}
    assert split_by_file(names, folder) == (["arc_easy", "blimp"], ["piqa", "arithmetic"])
    assert split_by_file(names, None) == (["arc_easy", "piqa", "blimp"], ["arithmetic"])


def test_two_files_of_one_set_are_named(model, tokenizer, folder):
    (folder / "arc_easy.json").write_text("[]")
    with pytest.raises(YxanulError, match=r"arc_easy\.json, core/arc_easy\.jsonl\.gz"):
        evaluate(model, tokenizer, ["arc_easy"], folder)


def test_without_a_folder_the_hub_is_asked(model, tokenizer, monkeypatch):
    def unreachable(query, quick):
        raise YxanulError("cannot reach the hub")

    monkeypatch.setattr("yxanul.text.benchmark_rows.find_plan", unreachable)
    with pytest.raises(YxanulError, match=r"the hub.*lambada_openai .*--task-data"):
        evaluate(model, tokenizer, ["lambada_openai"])


COUNTS = {
    "hellaswag": 10042, "arc_easy": 2376, "arc_challenge": 1172, "piqa": 1838, "winogrande": 1267,
    "winograd": 273, "openbookqa": 500, "copa": 100, "commonsense_qa": 1221, "boolq": 3270,
    "sciq": 1000, "lambada_openai": 5153, "blimp": 67 * 200, "bigbench_qa_wikidata": 20321,
    "arithmetic": 1000, "gsm8k_gold": 1319, "humaneval_gold": 164,
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_the_real_sets(name, shared_data):
    questions = read_rows(TASKS[name].benchmark, shared_data, TASKS[name].parse)
    assert len(questions) == COUNTS[name]
    assert len({question.num_choices for question in questions}) == 1


@pytest.mark.parametrize(
    ("name", "count"), [("gsm8k", 1319), ("triviaqa", 1500), ("humaneval", 164)]
)
def test_the_real_sets_of_generated_tasks(name, count, shared_data):
    task = GENERATED_TASKS[name]
    assert len(read_rows(task.benchmark, shared_data, task.checked)) == count
    assert len(read_rows(task.shots or name, shared_data, task.checked)) >= count
