from yxanul.base.ui import SilentUi
from yxanul.tokenizer import compare
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.compare import Length, measure
from yxanul.tokenizer.config import BpeSettings, ByteSettings
from yxanul.tokenizer.train_bpe import in_batches

TEXTS = ["The little fox", "naïve 日本", "", "x" * 50]


def test_lengths_are_those_of_the_texts_alone(monkeypatch):
    tokenizer = build_tokenizer(ByteSettings(), tuple, SilentUi())
    size = sum(len(text.encode()) for text in TEXTS)
    wanted = Length(len(TEXTS), size, size, sum(map(len, TEXTS)))
    assert measure(tokenizer, iter(TEXTS)) == wanted
    monkeypatch.setattr(compare, "in_batches", lambda texts: in_batches(texts, chars=5))
    assert measure(tokenizer, iter(TEXTS)) == wanted
    assert wanted.bytes_per_token == 1.0
    assert wanted.characters_per_token < 1.0


def test_tokens_are_those_of_encode():
    tokenizer = build_tokenizer(BpeSettings(vocab_size=270), lambda: TEXTS, SilentUi())
    assert measure(tokenizer, TEXTS).tokens == sum(map(len, tokenizer.encode_batch(TEXTS)))


def test_no_text_has_no_length():
    tokenizer = build_tokenizer(ByteSettings(), tuple, SilentUi())
    assert measure(tokenizer, []) == Length()
    assert Length().bytes_per_token == 0
