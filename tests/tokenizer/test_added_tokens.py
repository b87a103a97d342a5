"""Special tokens and chat templates: settings, training around them, files beside a tokenizer."""

import json

import pytest
import tokenizers
from pydantic import ValidationError

from yxanul.base.chat import CHAT_TEMPLATES
from yxanul.base.errors import YxanulError
from yxanul.base.ui import SilentUi
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import (
    BpeSettings,
    ByteSettings,
    FileSettings,
    SuperBpeSettings,
)
from yxanul.tokenizer.pretrained import load_pretrained_tokenizer
from yxanul.tokenizer.tokenizer import Tokenizer
from yxanul.tokenizer.train_bpe import cut_at

STORY = "The little fox ran over the little hill and the little river. "


def build(settings, texts=(STORY,) * 9):
    return build_tokenizer(settings, lambda: texts, SilentUi())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"special_tokens": ("<a>", "<a>")}, "duplicate special token"),
        ({"special_tokens": ("  ",)}, "white space"),
        ({"special_tokens": ("a\x00",)}, "unprintable"),
        ({"chat_template": "chatmll"}, "did you mean 'chatml'"),
        ({"chat_template": "{% for"}, "not valid Jinja"),
        ({"vocab_size": 258, "chat_template": "chatml"}, "no room"),
        ({"vocab_size": 300, "transition": 299}, "stage two"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValidationError, match=message):
        SuperBpeSettings(**settings)


def test_a_vocabulary_just_large_enough():
    settings = BpeSettings(vocab_size=259, chat_template="chatml")
    tokenizer = build(settings)
    assert tokenizer.vocab_size == 259
    assert tokenizer.end_of_text_id == 256
    assert tokenizer.encode("<|im_end|>") == [258]


@pytest.mark.parametrize(
    ("vocab_size", "tokens", "wanted"),
    [(8192, (), 4096), (300, (), 256), (258, (), 256), (300, ("<a>",) , 256)],
)  # fmt: skip
def test_where_stage_two_begins(vocab_size, tokens, wanted):
    settings = SuperBpeSettings(vocab_size=vocab_size, special_tokens=tokens)
    assert settings.num_stage_one == wanted


@pytest.mark.parametrize("kind", [BpeSettings, SuperBpeSettings])
def test_the_vocabulary_counts_them_and_learns_nothing_of_them(kind):
    texts = [f"{STORY}<calculation>{STORY}<calc>"] * 20
    plain = build(kind(vocab_size=280), ["<calc>", STORY, "<calculation>"] * 20)
    tokens = ("<calc>", "<calculation>")
    tokenizer = build(kind(vocab_size=282, special_tokens=tokens), texts)
    assert plain.vocab_size == 280 and tokenizer.vocab_size == 282
    assert any("calc" in token for token in plain.tokens(range(256, 279)))
    learnt = tokenizer.tokens(range(256, tokenizer.end_of_text_id))
    assert not any("calc" in token for token in learnt)
    assert tokenizer.tokens(tokenizer.encode("a<calculation>")) == ["a", "<calculation>"]


def test_cutting_takes_the_longer_token():
    assert cut_at("1<a>2<ab>3", ("<a", "<a>", "<ab>")) == ["1", "2", "3"]
    assert cut_at("1<a>2", ()) == ["1<a>2"]


def test_the_end_of_text_is_no_special_token():
    assert ByteSettings(special_tokens=("<|endoftext|>",)).added_tokens == ()


def test_tokens_that_a_file_keeps_as_special_are_found_in_text(tmp_path):
    made = build(ByteSettings())
    raw = tokenizers.Tokenizer.from_str(made.to_json())
    raw.add_special_tokens(["<|im_end|>"])
    raw.save(str(tmp_path / "tokenizer.json"))
    assert len(Tokenizer.load(tmp_path).encode("<|im_end|>")) > 1
    settings = FileSettings(path=str(tmp_path), special_tokens=("<|im_end|>", "<x>"))
    assert build(settings).encode("<|im_end|><x>") == [257, 258]


def test_the_end_of_text_of_a_file_cannot_be_one_of_them(tmp_path):
    raw = tokenizers.Tokenizer.from_str(
        build(ByteSettings()).to_json().replace("endoftext", "im_end")
    )
    raw.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(YxanulError, match=r"special_tokens contains '<\|im_end\|>'"):
        build(FileSettings(path=str(tmp_path), special_tokens=("<|im_end|>",)))


def test_the_template_stands_where_transformers_looks_for_it(tmp_path):
    tokenizer = build(ByteSettings(chat_template="chatml"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 9}))
    tokenizer.save(tmp_path / "tokenizer.json")
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config == {
        "model_max_length": 9,
        "eos_token": "<|endoftext|>",
        "chat_template": CHAT_TEMPLATES["chatml"],
    }
    kept = build(FileSettings(path=str(tmp_path), special_tokens=("<x>",)))
    assert kept.chat_template == CHAT_TEMPLATES["chatml"]
    other = "{{ messages[0].content }}"
    assert build(FileSettings(path=str(tmp_path), chat_template=other)).chat_template == other
    build(ByteSettings()).save(tmp_path / "tokenizer.json")
    assert Tokenizer.load(tmp_path).chat_template is None


def test_a_plain_tokenizer_has_no_file_beside_it(tmp_path):
    build(ByteSettings()).save(tmp_path / "tokenizer.json")
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("chat_template.jinja", "{{ messages }}"),
        ("tokenizer_config.json", json.dumps({"chat_template": "{{ messages }}"})),
        (
            "tokenizer_config.json",
            json.dumps({"chat_template": [{"name": "default", "template": "{{ messages }}"}]}),
        ),
    ],
)
def test_the_template_of_a_folder_of_others(tmp_path, name, content):
    build(ByteSettings()).save(tmp_path / "tokenizer.json")
    (tmp_path / name).write_text(content)
    assert Tokenizer.load(tmp_path).chat_template == "{{ messages }}"
    assert load_pretrained_tokenizer(tmp_path, 257).chat_template == "{{ messages }}"


def test_an_end_of_text_of_no_usual_name_is_saved(tmp_path):
    raw = tokenizers.Tokenizer.from_str(
        build(ByteSettings()).to_json().replace("endoftext", "stop")
    )
    Tokenizer(raw, "<|stop|>").save(tmp_path / "tokenizer.json")
    assert Tokenizer.load(tmp_path).end_of_text == "<|stop|>"


def test_transformers_reads_template_and_tokens(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer = build(SuperBpeSettings(vocab_size=330, chat_template="chatml"))
    tokenizer.save(tmp_path / "tokenizer.json")
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    chat = [{"role": "user", "content": "The little fox"}]
    text = theirs.apply_chat_template(chat, tokenize=False)
    assert text == "<|im_start|>user\nThe little fox<|im_end|>\n"
    assert theirs(text)["input_ids"] == tokenizer.encode(text)
    assert theirs.eos_token_id == tokenizer.end_of_text_id
