import random

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from pairs import train_tokenizer
from yxanul.base.ui import SilentUi
from yxanul.generate.text_stream import TextStream
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import BpeSettings, ByteSettings
from yxanul.tokenizer.tokenizer import Tokenizer


class Closed:
    def may_change(self, token):
        return False


class Bytes(Closed):
    def decode(self, ids):
        return bytes(ids).decode(errors="replace")


class Words(Closed):
    """Like tokenizers that mark the beginnings of words: the first word's space is dropped."""

    table = ("▁one", "▁two", "s", "▁", "▁three")

    def decode(self, ids):
        return "".join(self.table[i] for i in ids).replace("▁", " ").removeprefix(" ")


def streamed(tokenizer, prompt, ids):
    stream = TextStream(tokenizer, prompt)
    pieces = [stream.feed(i) for i in ids]
    return [*pieces, stream.flush()]


@given(st.text(max_size=6), st.binary(max_size=30))
def test_pieces_join_to_the_whole(prompt, content):
    pieces = streamed(Bytes(), list(prompt.encode()), list(content))
    assert "".join(pieces) == content.decode(errors="replace")


def test_a_character_comes_out_whole():
    assert streamed(Bytes(), [], list("a€é".encode())) == ["a", "", "", "€", "", "é", ""]


def test_what_is_left_of_a_character_comes_at_the_end():
    assert streamed(Bytes(), [], [97, 0xE2, 0x82]) == ["a", "", "", "\ufffd"]


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=9), st.lists(st.integers(0, 4), max_size=12)
)
def test_spaces_between_words_survive(prompt, ids):
    words = Words()
    expected = words.decode(prompt + ids)[len(words.decode(prompt)) :]
    assert "".join(streamed(words, prompt, ids)) == expected


FALLBACK = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
BYTES = ["41", "0a", "20", "80", "82", "A9", "AC", "C3", "E2", "F0", "9F", "98", "FF"]
WORDS = ["a", "b", "é", "▁", "▁a", "▁▁b", ".", "\ufffd", "##a", "a</w>", "</w>", "|", " n't"]
DECODERS = {
    "llama": decoders.Sequence([*FALLBACK, decoders.Strip(" ", 1, 0)]),
    "gemma": decoders.Sequence(FALLBACK),
    "bytes in a sequence": decoders.Sequence([decoders.ByteLevel()]),
    "metaspace": decoders.Metaspace(),
    "bert": decoders.WordPiece(),
    "suffix": decoders.BPEDecoder(),
    "ctc": decoders.CTC(pad_token="<pad>"),
    "none": None,
}


def foreign(decoder):
    """Return a tokenizer of words and of single bytes with some decoder, and holes in its ids."""
    names = ["</s>", "<unk>", "<pad>", *(f"<0x{byte}>" for byte in BYTES), *WORDS]
    vocab = {name: place + 2 * (place > 9) for place, name in enumerate(names)}
    raw = tokenizers.Tokenizer(models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    if decoder is not None:
        raw.decoder = decoder
    return Tokenizer(raw, "</s>", num_ids=len(names) + 5)


def build(kind):
    if kind in DECODERS:
        return foreign(DECODERS[kind])
    if kind == "theirs":
        return Tokenizer(train_tokenizer(), "</s>", num_ids=99)
    wanted = {"byte": ByteSettings(), "bpe": BpeSettings(vocab_size=280)}
    return build_tokenizer(wanted[kind], lambda: ["a cat é €, 😀 a cat"] * 9, SilentUi())


TOKENIZERS = {kind: build(kind) for kind in ("byte", "bpe", "theirs", *DECODERS)}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_stream_is_what_all_ids_say(kind):
    """Of every kind of tokenizer: all ids that it has, those of no token too, in any order."""
    tokenizer, draw = TOKENIZERS[kind], random.Random(kind)
    for _ in range(300):
        ids = draw.choices(range(tokenizer.vocab_size), k=draw.randrange(15))
        prompt = tokenizer.encode("".join(draw.choices("ab é€😀.", k=draw.randrange(7))))
        assert "".join(streamed(tokenizer, [], ids)) == tokenizer.decode(ids), ids
        whole, before = tokenizer.decode(prompt + ids), tokenizer.decode(prompt)
        assert "".join(streamed(tokenizer, prompt, ids)) == whole[len(before) :], (prompt, ids)


def test_a_byte_that_breaks_the_ones_before_it_takes_nothing_back():
    tokenizer = TOKENIZERS["gemma"]
    a, e2, ff, word = (tokenizer._raw.token_to_id(t) for t in ("<0x41>", "<0xE2>", "<0xFF>", "b"))
    assert streamed(tokenizer, [], [a, word]) == ["", "Ab", ""]
    assert streamed(tokenizer, [], [a, ff, word, a]) == ["", "", "\ufffd\ufffdb", "", "A"]
    assert streamed(tokenizer, [], [a, e2]) == ["", "", "\ufffd\ufffd"]
