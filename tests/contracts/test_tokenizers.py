"""What every kind of tokenizer must satisfy; a new kind in TOKENIZERS is tested by being there."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yxanul.base.chat import CHAT_TEMPLATES
from yxanul.base.ui import SilentUi
from yxanul.generate.text_stream import TextStream
from yxanul.tokenizer.build import TOKENIZERS, build_tokenizer
from yxanul.tokenizer.config import (
    BpeSettings,
    ByteSettings,
    FileSettings,
    Gpt2Settings,
    SuperBpeSettings,
    SuperBpeT80kSettings,
)
from yxanul.tokenizer.tokenizer import Tokenizer

TEXTS = [
    "Once upon a time, there was a little fox. " * 5,
    "def main():\n\treturn 'naïve café' # 日本語 🦊\n",
    "  spaces   and\r\nline ends\n\n\n",
    "The end: <|endoftext|> is written here, and </s> too.",
    "",
    "\x00\x7f\x85\u2028",
]


def settings_of(kind, request, folder):
    if kind == "byte":
        return ByteSettings()
    if kind == "bpe":
        return BpeSettings(vocab_size=300)
    if kind == "superbpe":
        return SuperBpeSettings(vocab_size=320, transition=270)
    if kind == "superbpe-t80k":
        return SuperBpeT80kSettings(path=str(request.getfixturevalue("shared_data") / "superbpe"))
    if kind == "gpt2":
        return Gpt2Settings(path=str(request.getfixturevalue("shared_data") / "gpt2"))
    if kind == "file":
        made = build_tokenizer(BpeSettings(vocab_size=280), lambda: TEXTS, SilentUi())
        made.save(folder / "tokenizer.json")
        return FileSettings(path=str(folder))
    raise AssertionError(f"add settings for the kind '{kind}' to this test")


# A vocabulary of 200,000 from files takes long; gpt2 stands for it.
KINDS = [
    pytest.param(kind, marks=pytest.mark.slow if kind == "superbpe-t80k" else ())
    for kind in sorted(TOKENIZERS)
]


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    wanted = settings_of(request.param, request, folder)
    return build_tokenizer(wanted, lambda: TEXTS, SilentUi())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.text(max_size=60))
def test_decode_undoes_encode(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert all(0 <= i < tokenizer.vocab_size for i in ids)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts=st.lists(st.text(max_size=40), max_size=5))
def test_batches_equal_single_texts(tokenizer, texts):
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_streaming_any_ids_equals_decoding_them(tokenizer, data):
    some_ids = st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=20)
    ids = data.draw(some_ids)
    stream = TextStream(tokenizer, [])
    pieces = [stream.feed(i) for i in ids]
    assert "".join(pieces) + stream.flush() == tokenizer.decode(ids)


def test_the_end_of_text_is_never_in_a_text(tokenizer):
    for text in [tokenizer.end_of_text, f"a{tokenizer.end_of_text}b", tokenizer.end_of_text * 3]:
        ids = tokenizer.encode(text)
        assert tokenizer.end_of_text_id not in ids
        assert tokenizer.decode(ids) == text


def test_the_end_of_text_has_an_id_of_its_own(tokenizer):
    assert 0 <= tokenizer.end_of_text_id < tokenizer.vocab_size
    assert tokenizer.decode([tokenizer.end_of_text_id]) == tokenizer.end_of_text
    assert tokenizer.tokens([tokenizer.end_of_text_id]) == [tokenizer.end_of_text]


def test_saved_and_loaded_it_is_the_same(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.digest == tokenizer.digest
    assert loaded.vocab_size == tokenizer.vocab_size
    assert loaded.end_of_text_id == tokenizer.end_of_text_id
    assert [loaded.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]


def test_tokens_can_be_read(tokenizer):
    text = "A plain line of words."
    assert "".join(tokenizer.tokens(tokenizer.encode(text))) == text


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_of_the_user_are_found_in_text(kind, request, tmp_path):
    """They follow the vocabulary, are one token each in any text, and are saved with the rest."""
    wanted = settings_of(kind, request, tmp_path)
    more = {"special_tokens": ("<step>", "<calculation>"), "chat_template": "chatml"}
    tokenizer = build_tokenizer(wanted.model_copy(update=more), lambda: TEXTS, SilentUi())
    names = ["<step>", "<calculation>", "<|im_start|>", "<|im_end|>"]
    ids = list(range(tokenizer.vocab_size - 4, tokenizer.vocab_size))
    assert tokenizer.end_of_text_id == ids[0] - 1
    assert tokenizer.encode("".join(names)) == ids
    assert tokenizer.tokens(ids) == names
    text = "a<step> b<|im_end|>c <|endoftext|>"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.end_of_text_id not in tokenizer.encode(text)
    documents, ends = tokenizer.encode_documents([text, "<step>"])
    assert documents[: ends[0] - 1].tolist() == tokenizer.encode(text)
    tokenizer.save(tmp_path / "saved" / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "saved")
    assert loaded.digest == tokenizer.digest
    assert loaded.encode(text) == tokenizer.encode(text)
    assert loaded.chat_template == tokenizer.chat_template == CHAT_TEMPLATES["chatml"]
