"""WikiText as lm-evaluation-harness scores it."""

import json
import math

import numpy as np
import pytest

from pairs import build_ours, settings_of, train_tokenizer
from yxanul.base.ui import SilentUi
from yxanul.eval import TaskOptions, evaluate
from yxanul.eval.cached_model import CachedModel
from yxanul.eval.compare import paired_bootstrap
from yxanul.eval.loglikelihood import crop
from yxanul.eval.questions import detokenized, num_words, wikitext
from yxanul.eval.requests import Request, RollingRequest
from yxanul.eval.tasks import Estimate, estimate, interval
from yxanul.tokenizer.tokenizer import Tokenizer

PAGES = [
    ' \n = The fox = \n \n The fox , a red @-@ brown animal ( or " fox " ) , ran 2 @,@ 500 m . \n',
    " \n = Hill = \n \n = = Barn = = \n \n The foxes ' barn : the hill 's 0 @.@ 5 km away ; is it ?"
    " It is ! At 20 ° C [ or [ N ] K ] { the N th } it 'll be ' red ' . \n = = = = x = = = = \n",
    "fox",
    "The fox ran over the hill to the red barn . \n" * 9,
]
SEQ_LEN = 40


@pytest.fixture(scope="module", params=[None, "<s>"])
def tokenizer(request):
    return Tokenizer(train_tokenizer(begin=request.param), "</s>", request.param or "</s>")


@pytest.fixture(scope="module")
def model(tokenizer):
    shape = {"vocab_size": tokenizer.vocab_size, "max_seq_len": SEQ_LEN}
    return build_ours(settings_of("Llama", **shape)).eval()


@pytest.fixture
def folder(tmp_path):
    rows = [json.dumps({"page": page}) for page in PAGES]
    (tmp_path / "wikitext.jsonl").write_text("\n".join(rows))
    return tmp_path


def test_the_text_reads_as_text():
    assert detokenized(PAGES[0]) == (
        '\n= The fox =\n\nThe fox, a red-brown animal (or "fox"), ran 2,500 m.\n'
    )
    question = wikitext({"page": PAGES[0]})
    assert question.choice(0) == ("", detokenized(PAGES[0])) and question.page == PAGES[0]


def test_words_are_pieces_between_blanks():
    assert [num_words(text) for text in ("a", "a b\n\nc", " a ", "")] == [1, 3, 3, 1]


def test_windows_of_a_text_are_disjoint_and_full():
    ids = list(range(1, 96))
    pieces = crop(RollingRequest([0], ids), SEQ_LEN)
    assert [i for piece in pieces for i in piece.continuation] == ids
    read = [[*piece.context, *piece.continuation[:-1]] for piece in pieces]
    assert read == [list(range(40)), list(range(40, 80)), list(range(55, 95))]
    assert crop(RollingRequest([0], ids[:40]), SEQ_LEN) == [([0], ids[:40])]


def test_scores_of_disjoint_windows_are_kept_apart(model, tmp_path):
    ids = [3 + n % 20 for n in range(95)]
    cached = CachedModel(model, SEQ_LEN, tmp_path)
    with SilentUi().task("", 1, "") as bar:
        (overlapping,) = cached.score([Request([0], ids)], bar)
        (disjoint,) = cached.score([RollingRequest([0], ids)], bar)
        assert cached.score([RollingRequest([0], ids)], bar) == [disjoint]
    assert abs(overlapping.nats - disjoint.nats) > 1e-3


def test_figures_are_those_of_lm_eval(model, tokenizer, folder):
    pytest.importorskip("lm_eval", reason="needs the extra 'eval'")
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks.wikitext import preprocess_wikitext as theirs

    from yxanul.eval.lm_harness import HarnessModel

    for page in PAGES:
        assert detokenized(page) == theirs.wikitext_detokenizer({"page": page})
    metrics = ["word_perplexity", "byte_perplexity", "bits_per_byte"]
    task = {
        "task": "pages",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "wikitext.jsonl")}},
        "test_split": "test",
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": theirs.wikitext_detokenizer,
        "process_results": theirs.process_results,
        "metric_list": [{"metric": name} for name in metrics],
    }
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    harness = HarnessModel(model, tokenizer, SEQ_LEN)
    asked = {"tasks": [task], "task_manager": manager, "bootstrap_iters": 0}
    expected = simple_evaluate(harness, **asked)["results"]["pages"]
    found = evaluate(model, tokenizer, ["wikitext"], folder)["wikitext"].metrics
    assert list(found) == metrics
    for name in metrics:
        assert found[name].value == pytest.approx(expected[f"{name},none"], rel=1e-4), name


def test_real_pages_are_detokenized_as_by_lm_eval(shared_data):
    pytest.importorskip("lm_eval", reason="needs the extra 'eval'")
    from lm_eval.tasks.wikitext.preprocess_wikitext import wikitext_detokenizer

    text = (shared_data / "wiki" / "wikitext2_valid.txt").read_text()[:300_000]
    assert detokenized(text) == wikitext_detokenizer({"page": text}) != text


def test_scores_are_kept_and_a_limit_draws(model, tokenizer, folder, monkeypatch):
    cache = folder / "cache"
    first = evaluate(model, tokenizer, ["wikitext"], folder, cache=cache)["wikitext"]
    assert first.to_dict()["documents"] == 4 and first.chance is None
    monkeypatch.setattr(model, "hidden", None)
    again = evaluate(model, tokenizer, ["wikitext"], folder, cache=cache)["wikitext"]
    assert again.metrics == first.metrics
    monkeypatch.undo()
    options = TaskOptions(limit=2, num_fewshot=1)
    two = evaluate(model, tokenizer, ["wikitext"], folder, options)["wikitext"]
    assert [sample["context"] for sample in two.samples()] == ["", ""]
    assert {sample["continuation"] for sample in two.samples()} < set(map(detokenized, PAGES))


def test_pages_are_scored_as_one_text(model, tokenizer, folder):
    result = evaluate(model, tokenizer, ["wikitext"], folder)["wikitext"]
    nats = -sum(answer.nats[0] for answer in result.answers)
    words, size = sum(map(num_words, PAGES)), sum(len(page.encode()) for page in PAGES)
    assert result.metrics["word_perplexity"].value == pytest.approx(math.exp(nats / words))
    assert result.metrics["bits_per_byte"].value == pytest.approx(nats / math.log(2) / size)


def test_a_weighted_mean_has_the_error_of_a_ratio():
    draw = np.random.default_rng(0)
    values, weights = draw.normal(2.0, 0.3, 400), draw.uniform(1, 9, 400)
    found = estimate("bits_per_byte", values.tolist(), weights.tolist())
    assert found.value == pytest.approx((values * weights).sum() / weights.sum())
    drawn = draw.integers(400, size=(4000, 400))
    resampled = (values * weights)[drawn].sum(1) / weights[drawn].sum(1)
    assert found.stderr == pytest.approx(resampled.std(), rel=0.1)
    equal = estimate("bits_per_byte", values.tolist(), [3.0] * 400)
    assert equal == pytest.approx(estimate("bits_per_byte", values.tolist()))


def test_the_interval_of_a_perplexity_is_not_that_of_a_share():
    found = Estimate(30.0, 1.0)
    assert interval("word_perplexity", found, 4) == pytest.approx((28.04, 31.96))


def test_two_models_are_compared_by_their_weighted_means():
    first, second, weights = [1.0, 2.0, 3.0], [1.5, 2.5, 3.5], [1.0, 1.0, 8.0]
    found = paired_bootstrap(first, second, weights)
    assert found == pytest.approx((0.5, 0.5, 0.5)) and found.is_clear
    assert not paired_bootstrap([1.0], [1.5], [1.0]).is_clear
    of_exp = paired_bootstrap(first, second, weights, of_exp=True)
    assert of_exp.difference == pytest.approx(math.exp(3.2) - math.exp(2.7))
