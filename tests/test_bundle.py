"""A folder of the `transformers` layout wherever a run is taken, through the verbs too."""

import json
import math

import pytest
import torch

from pairs import build_ours, settings_of, train_tokenizer
from running import call
from yxanul.base.errors import YxanulError
from yxanul.bundle import open_bundle
from yxanul.model.convert import write_pretrained
from yxanul.model.count import count_parameters

TEXT = "The red fox ran to the barn. Over the hill the fox ran."
FIELDS = {"layer_pattern": "LG", "window": 6, "max_seq_len": 64}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Gemma 3 that begins texts with <s>, as transformers itself saves it."""
    transformers = pytest.importorskip("transformers", reason="needs the extra 'hf'")
    place = tmp_path_factory.mktemp("pretrained")
    write_pretrained(build_ours(settings_of("Gemma3", **FIELDS)), place / "ours")
    model = transformers.AutoModelForCausalLM.from_pretrained(place / "ours")
    model.config.bos_token_id, model.config.eos_token_id = 1, 2
    model.save_pretrained(place / "theirs")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(begin="<s>"), bos_token="<s>", eos_token="</s>"
    )
    tokenizer.save_pretrained(place / "theirs")
    return place / "theirs"


def yxanul(*words):
    """Run a verb in this process; return its exit code, stdout and stderr."""
    said = call(*words)
    return said.code, said.out, said.err


def test_the_bundle(folder):
    bundle = open_bundle(folder)
    assert (bundle.step, bundle.data, bundle.seq_len) == (None, None, 64)
    assert (bundle.tokenizer.bos_id, bundle.tokenizer.end_of_text_id) == (1, 2)
    assert bundle.tokenizer.vocab_size == bundle.model.settings.known_vocab_size == 96
    assert not bundle.model.training
    with pytest.raises(YxanulError, match="no checkpoint '12'"):
        open_bundle(folder, "12")


@torch.no_grad()
def test_eval_is_what_transformers_says(folder, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    code, out, _ = yxanul("eval", folder, "--text", text, "--json")
    facts = json.loads(out)
    assert code == 0 and facts["step"] is None and facts["seq_len"] == 64
    ids = [*AutoTokenizer.from_pretrained(folder)(TEXT)["input_ids"], 2]
    assert ids[0] == 1 and len(ids) <= 65
    logits = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([ids[:-1]])).logits[0]
    wanted = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:])).item()
    (score,) = facts["texts"].values()
    assert score["loss"] == pytest.approx(wanted, rel=1e-4)
    assert (score["tokens"], score["bytes"]) == (len(ids) - 1, len(TEXT))
    assert math.isfinite(score["perplexity"]) and score["bits_per_byte"] > 0
    assert str(folder) in yxanul("eval", folder, "--text", text)[1]
    compared = json.loads(yxanul("eval", folder, "--domains", "--text", text, "--json")[1])
    (alone,) = compared["texts"].values()
    assert alone.items() >= score.items() and "surprise_ratio" not in alone
    assert alone["worst"][0]["text"] == TEXT
    code, out, _ = yxanul("eval", folder, "--domains", "--text", text)
    assert code == 0 and "surprise" not in out and TEXT[:20] in out
    assert "no held-out text" in yxanul("eval", folder, "--domains")[2]


@torch.no_grad()
def test_generate_is_what_transformers_says(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    words = ("--temperature", 0, "--max-tokens", 12)
    code, out, _ = yxanul("generate", folder, "The fox", *words, "--json")
    assert code == 0
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([tokenizer("The fox")["input_ids"]])
    model = AutoModelForCausalLM.from_pretrained(folder)
    for _ in range(12):
        new = model(ids).logits[:, -1].argmax(-1, keepdim=True)
        if new.item() == 2:
            break
        ids = torch.cat([ids, new], 1)
    (sample,) = json.loads(out)["samples"]
    assert "The fox" + sample["text"] == tokenizer.decode(ids[0, 1:])
    assert yxanul("generate", folder, "The fox", *words)[1] == f"The fox{sample['text']}\n"


def test_show_a_folder_like_a_preset(folder):
    facts = json.loads(yxanul("show", folder, "--json")[1])
    preset = json.loads(yxanul("show", "gemma3-270m", "--json")[1])
    assert set(facts) - {"folder"} == set(preset) - {"preset"}
    settings = open_bundle(folder).model.settings
    assert facts["parameters"] == count_parameters(settings)
    assert facts["layers"] == "LGL" and facts["model"]["layer_pattern"] == "LG"
    assert facts["kv_cache_bytes"] == 2 * 2 * 2 * 8 * (6 + 64 + 6)
    said = yxanul("show", folder)[1]
    assert f"{facts['parameters']:,}" in said and "layers: LGL (L attends to 6 tokens" in said
    assert preset["kv_cache_bytes"] < preset["kv_bytes_per_token"] * preset["seq_len"]
    assert "window" not in yxanul("show", "nano")[1]


def test_mistakes_are_one_line(folder, tmp_path):
    bare = tmp_path / "bare"
    write_pretrained(build_ours(settings_of("Llama")), bare)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"architectures": ["BertModel"]}')
    for words, said in [
        (["eval", folder], "--text FILE"),
        (["generate", bare, "x"], "no tokenizer.json"),
        (["generate", other, "x"], "got BertModel; expected LlamaForCausalLM"),
        (["show", other], "got BertModel"),
        (["show", folder, "model.depth=2"], "only a recipe takes"),
        (["eval", tmp_path], "has no checkpoint; give a run folder"),
    ]:
        code, out, err = yxanul(*words)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert said in err
