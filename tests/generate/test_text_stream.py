from hypothesis import given
from hypothesis import strategies as st

from yxanul.generate.text_stream import TextStream


class Bytes:
    def decode(self, ids):
        return bytes(ids).decode(errors="replace")


class Words:
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
