"""Our model in lm-evaluation-harness says what its `hf` model says of our exported folder."""

import json
import random
import sys
from pathlib import Path

import pytest

from pairs import build_ours, settings_of, superword_tokenizer, train_tokenizer
from yxanul.bundle import open_bundle
from yxanul.model.convert import write_pretrained

pytest.importorskip("lm_eval", reason="needs the extra 'eval'")
pytest.importorskip("accelerate", reason="lm-eval's hf model needs accelerate")

GOLDEN_RUN = Path(__file__).parents[1] / "golden" / "run"
LENGTH = 40
LOCAL = {"layer_pattern": "LLG", "window": 7}
CASES = [("Llama", {}, None), ("Qwen3", {}, None), ("Gemma3", LOCAL, "<s>"), ("Llama", {}, "<s>")]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[2]}")
def both(request, tmp_path_factory):
    """Our model and lm-eval's `hf` with the same weights and tokenizer."""
    from lm_eval.models.huggingface import HFLM
    from transformers import PreTrainedTokenizerFast

    from yxanul.eval.lm_harness import HarnessModel

    family, fields, begin = request.param
    raw = train_tokenizer(begin=begin)
    own = {"vocab_size": raw.get_vocab_size(), "max_seq_len": LENGTH, **fields}
    model = build_ours(settings_of(family, **own)).eval()
    folder = tmp_path_factory.mktemp("export") / "model"
    write_pretrained(model, folder)
    names = {"eos_token": "</s>", "pad_token": "<pad>"} | ({"bos_token": begin} if begin else {})
    PreTrainedTokenizerFast(tokenizer_object=raw, **names).save_pretrained(folder)
    theirs = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=3)
    assert theirs.max_length == LENGTH
    bundle = open_bundle(folder)
    return HarnessModel(bundle.model, bundle.tokenizer), theirs


def instances(kind, arguments):
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, args, n) for n, args in enumerate(arguments)]


def pairs(ours, theirs):
    """Contexts of any length, also none, with continuations that join them in any way but that
    which lm-eval does not score: a last token of the context that swallows the continuation."""
    draw = random.Random(2)
    words = ["The", "fox", "ran", "over", "the", "hill", "to", "red", "barn."]

    def text(low, high):
        return " ".join(draw.choice(words) for _ in range(draw.randint(low, high)))

    found = [("", " The fox"), ("", "ran"), ("The fox ", "ran"), ("The f", "ox"), ("The\n", "x")]
    for _ in range(20):
        context = text(1, 60)
        found += [(context, f" {text(1, 4)}"), (context, " a"), (context, " b"), (context, "er")]
    found += [("<s>The fox", " ran")] if ours.tokenizer.puts_bos_first else []
    return [pair for pair in found if not pair[0] or theirs._encode_pair(*pair)[1]]


def test_log_likelihoods(both):
    ours, theirs = both
    asked = pairs(ours, theirs)
    mine = ours.loglikelihood(instances("loglikelihood", asked), disable_tqdm=True)
    others = theirs.loglikelihood(instances("loglikelihood", asked), disable_tqdm=True)
    for args, (nats, greedy), (expected, is_greedy) in zip(asked, mine, others, strict=True):
        assert nats == pytest.approx(expected, abs=1e-4), args
        assert greedy == is_greedy, args


def test_greedy_continuations_are_greedy(both):
    ours, theirs = both
    contexts = ["The fox", "over the hill to the", "T"]
    options = {"until": [], "max_gen_toks": 3}
    made = ours.generate_until(instances("generate_until", [(c, options) for c in contexts]), True)
    asked = [(c, text) for c, text in zip(contexts, made, strict=True) if text]
    mine = ours.loglikelihood(instances("loglikelihood", asked), disable_tqdm=True)
    others = theirs.loglikelihood(instances("loglikelihood", asked), disable_tqdm=True)
    assert [greedy for _, greedy in mine] == [greedy for _, greedy in others]


def test_whole_texts(both):
    ours, theirs = both
    texts = [("The fox ran over the hill. " * n,) for n in (1, 2, 9)]
    mine = ours.loglikelihood_rolling(instances("loglikelihood_rolling", texts), disable_tqdm=True)
    asked = instances("loglikelihood_rolling", texts)
    others = theirs.loglikelihood_rolling(asked, disable_tqdm=True)
    assert mine == pytest.approx(others, abs=1e-3)


def test_generated_answers(both):
    ours, theirs = both
    prompts = ["The fox", "over the hill to", "The fox ran over the hill to the red barn. " * 9]
    asked = [(prompt, {"until": ["a"], "max_gen_toks": 12}) for prompt in prompts]
    mine = ours.generate_until(instances("generate_until", asked), disable_tqdm=True)
    others = theirs.generate_until(instances("generate_until", asked), disable_tqdm=True)
    # Theirs leaves out the text of special tokens.
    assert [text.replace("<s>", "") for text in mine] == others


@pytest.fixture
def ours():
    """A model alone, with a token across words."""
    from yxanul.eval.lm_harness import HarnessModel

    tokenizer = superword_tokenizer()
    model = build_ours(settings_of("Llama", vocab_size=tokenizer.vocab_size)).eval()
    return HarnessModel(model, tokenizer)


def test_a_continuation_that_a_token_swallows_is_scored_with_that_token(ours):
    before, after = ours._encode_pair("The fox", " r")
    assert [ours.tokenizer.decode(ids) for ids in (before, after)] == ["The", " fox r"]
    ((nats, _),) = ours.loglikelihood(instances("loglikelihood", [("The fox", " r")]), True)
    assert nats < 0


def test_a_context_of_blanks_is_none(ours):
    pairs = instances("loglikelihood", [("", " word"), (" ", "word"), ("  ", "word")])
    (alone, *others) = ours.loglikelihood(pairs, True)
    assert others[0] == alone and others[1][0] < 0


def test_a_chat_has_the_template_of_the_tokenizer(ours):
    chat = [{"role": "user", "content": "Hi"}]
    assert "Hi" in ours.apply_chat_template(chat)
    ours.tokenizer.chat_template = "{% for m in messages %}<{{ m.content }}>{% endfor %}"
    assert ours.apply_chat_template(chat) == "<Hi>"


def test_a_task_of_files(tmp_path, ours):
    """lm-eval's own evaluation of a local task, with ours as the model."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    rows = [{"q": f"The{' fox' * n}", "choices": [" ran", " sat"], "gold": n % 2} for n in range(6)]
    (tmp_path / "set.json").write_text("\n".join(map(json.dumps, rows)))
    task = {
        "task": "mine",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "set.json")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "target_delimiter": "",
    }
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    result = simple_evaluate(ours, tasks=[task], task_manager=manager, bootstrap_iters=0)
    right = []
    for row in rows:
        asked = [(row["q"], choice) for choice in row["choices"]]
        scores = ours.loglikelihood(instances("loglikelihood", asked), disable_tqdm=True)
        right.append(scores[row["gold"]] > scores[1 - row["gold"]])
    assert result["results"]["mine"]["acc,none"] == pytest.approx(sum(right) / 6)


def test_the_model_is_registered_and_made_from_arguments():
    from lm_eval.api.registry import get_model

    from yxanul.lm_eval import register

    register()
    assert get_model("hf").__name__ == "HFLM"  # lm-eval's own are still known
    options = {"batch_size": "auto", "max_batch_size": None, "device": "cuda:0"}
    model = get_model("yxanul").create_from_arg_string(f"run={GOLDEN_RUN},max_length=48", options)
    assert (model.max_length, model.batch_size) == (48, 16)
    ((nats, _),) = model.loglikelihood(instances("loglikelihood", [("Once", " upon")]), True)
    assert nats < 0


def test_without_lm_eval_the_extra_is_named(monkeypatch, capsys):
    from yxanul.lm_eval import main

    for name in [name for name in sys.modules if name.partition(".")[0] == "lm_eval"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "yxanul.eval.lm_harness", raising=False)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "pip install 'yxanul[eval]'" in capsys.readouterr().err
