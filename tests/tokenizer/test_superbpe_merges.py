"""Stage two of a SuperBPE against a reference that counts everything anew after every merge."""

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yxanul.base.ui import SilentUi
from yxanul.tokenizer.pre_tokenizers import count_words
from yxanul.tokenizer.superbpe import merges as merges_module
from yxanul.tokenizer.superbpe.merges import StageTwo
from yxanul.tokenizer.superbpe.token_array import BORDER, TokenText
from yxanul.tokenizer.superbpe.train import train_superbpe

ALPHABET = [b"a", b"b", b" ", b":", b"\n", b"\xc3", b"\xa9", b"xy", b" a"]


def reference(pieces, tokens, vocab_size):
    """Merge the commonest pair, the one of lower ids among equals, and count all pairs anew."""
    pieces, tokens, merges = [list(piece) for piece in pieces], list(tokens), []
    while len(tokens) < vocab_size:
        counts = Counter(pair for piece in pieces for pair in pairwise(piece))
        allowed = {
            (left, right): count
            for (left, right), count in counts.items()
            if count >= 2
            and (token := tokens[left] + tokens[right]) not in tokens
            and b": " not in token
            and len([word for word in token.split(b" ") if word]) <= 4
        }
        if not allowed:
            break
        best = min(allowed, key=lambda pair: (-allowed[pair], pair))
        merges.append(best)
        tokens.append(tokens[best[0]] + tokens[best[1]])
        for piece in pieces:
            place = 0
            while place < len(piece) - 1:
                if (piece[place], piece[place + 1]) == best:
                    piece[place : place + 2] = [len(tokens) - 1]
                place += 1
    return merges, pieces


def pieces_in(text):
    """Return the current ids of each piece; slots inside a token are negative."""
    pieces = []
    for slot in text.slots[text.slots >= 0].tolist():
        if slot == BORDER:
            pieces.append([])
        else:
            pieces[-1].append(slot)
    return pieces[:-1]


def both(pieces, tokens, vocab_size):
    text = TokenText([np.array(piece, np.int32) for piece in pieces], len(tokens))
    two = StageTwo(text, tokens)
    with SilentUi().task("", 1, "") as task:
        merges = two.merges(vocab_size, task)
    return (merges, pieces_in(text)), reference(pieces, tokens, vocab_size)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    pieces=st.lists(st.lists(st.integers(0, len(ALPHABET) - 1), max_size=40), max_size=6),
    vocab_size=st.integers(9, 60),
)
def test_any_text_gives_the_merges_of_the_reference(pieces, vocab_size):
    ours, wanted = both(pieces, ALPHABET, vocab_size)
    assert ours == wanted


@pytest.mark.parametrize("seed", range(25))
def test_repeating_text_gives_the_merges_of_the_reference(seed):
    """Few symbols and phrases said again: many ties, overlaps, and tokens of many words."""
    generator = random.Random(seed)
    symbols = generator.randint(1, len(ALPHABET))
    phrases = [
        [generator.randrange(symbols) for _ in range(generator.randint(1, 9))] for _ in range(4)
    ]
    pieces = [
        [i for _ in range(generator.randint(0, 12)) for i in generator.choice(phrases)]
        for _ in range(8)
    ]
    ours, wanted = both(pieces, ALPHABET, 80)
    assert ours == wanted
    assert symbols == 1 or len(ours[0]) > 5


@pytest.mark.parametrize("length", range(12))
def test_a_run_is_merged_from_its_beginning(length):
    ours, wanted = both([[0] * length, [1, *[0] * length, 1]], ALPHABET, 30)
    assert ours == wanted


def test_sorting_in_small_ranges_changes_nothing(monkeypatch):
    generator = random.Random(0)
    pieces = [[generator.randrange(9) for _ in range(60)] for _ in range(20)]
    monkeypatch.setattr(merges_module, "_POSITIONS_AT_ONCE", 7)
    ours, wanted = both(pieces, ALPHABET, 60)
    assert ours == wanted


def test_no_place_is_too_far_for_its_number(monkeypatch):
    """Above 2^31 slots places take eight bytes; the merges are the same."""
    pieces = [[0, 1, 0, 1, 0, 0, 0, 2, 1] * 5]
    text = TokenText([np.array(piece, np.int32) for piece in pieces], len(ALPHABET))
    text.position_type = np.int64
    with SilentUi().task("", 1, "") as task:
        merges = StageTwo(text, ALPHABET).merges(40, task)
    assert (merges, pieces_in(text)) == reference(pieces, ALPHABET, 40)


def test_nothing_to_merge():
    for pieces in ([], [[]], [[0]], [[0], [0], [1]], [[0, 1]]):
        ours, wanted = both(pieces, ALPHABET, 60)
        assert ours == wanted == ([], pieces)


def test_borders_inside_a_piece_are_borders():
    text = TokenText([np.array([0, 1, BORDER, 0, 1, BORDER, 1], np.int32)], 2)
    assert pieces_in(text) == [[0, 1], [0, 1], [1]]


PHRASES = ["the fox ran", "over a hill:", "it saw 12", "and 1234567", "of its 3", "friends;"]
PHRASES += ["naïve 日本", "aaaa", "\n"]


@pytest.mark.parametrize("seed", range(6))
def test_both_stages_together(seed):
    """What the stock library gives for the training text is the state that training ended in, and
    the merges of stage two are the reference's."""
    generator = random.Random(seed)
    texts = [
        " ".join(generator.choices(PHRASES, k=generator.randint(0, 60))).replace("\n ", "\n")
        for _ in range(12)
    ]
    start, size = generator.randint(256, 300), 440
    first = train_superbpe([text.encode() for text in texts], start, start, SilentUi())
    whole = train_superbpe([text.encode() for text in texts], start, size, SilentUi())
    tokens = [_bytes(first, i) for i in range(first.get_vocab_size())]
    pieces = [piece for text in texts for piece in _pieces(first, text)]
    merges, state = reference(pieces, tokens, size)
    added = [(_bytes(whole, left) + _bytes(whole, right)) for left, right in merges]
    assert [_bytes(whole, i) for i in range(len(tokens), whole.get_vocab_size())] == added
    assert [piece for text in texts for piece in _pieces(whole, text)] == state
    assert 1 < max(map(count_words, added)) <= 4
    assert any(b" " in token.strip() for token in added)


def _bytes(raw, number):
    from yxanul.tokenizer.pre_tokenizers import token_bytes

    return token_bytes(raw.id_to_token(number))


def _pieces(raw, text):
    """Return the ids of each piece between cuts, as the library gives them."""
    encoding, pieces = raw.encode(text), {}
    for number, word in zip(encoding.ids, encoding.word_ids, strict=True):
        pieces.setdefault(word, []).append(number)
    return list(pieces.values())
