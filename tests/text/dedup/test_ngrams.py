import numpy as np
import pytest

from yxanul.text.dedup import minhash
from yxanul.text.dedup.minhash import ngram_hashes


def test_case_punctuation_and_space_make_no_difference():
    plain = ngram_hashes("the cat sat on the mat and slept", 5)
    assert np.array_equal(ngram_hashes("  The CAT, sat\non the\tmat -- and slept!", 5), plain)
    assert len(plain) == 4


def test_equal_runs_have_equal_numbers_wherever_they_stand():
    left = ngram_hashes("a b c d e f", 3)
    right = ngram_hashes("x y a b c z d e f", 3)
    assert left[0] == right[2]
    assert left[3] == right[6]
    assert len(set(left.tolist()) | set(right.tolist())) == 4 + 7 - 2


def test_the_order_of_words_counts():
    assert ngram_hashes("one two", 2) != ngram_hashes("two one", 2)


@pytest.mark.parametrize("text", ["", "  \n ", "?!", "one two three four", "\ud800 \ud800"])
def test_fewer_words_than_a_run_give_nothing(text):
    assert ngram_hashes(text, 5).shape == (0,)
    assert ngram_hashes(text, 5).dtype == np.uint64


def test_a_lone_surrogate_is_no_obstacle():
    assert len(ngram_hashes("a\ud800b c d e f g", 5)) > 0


def test_scripts_without_spaces_are_compared_sign_by_sign():
    assert len(ngram_hashes("今日は天気がいいです。", 5)) == 10 - 4
    assert len(ngram_hashes("übermäßig viele größere Wörter ändern", 5)) == 1


def test_a_long_text_in_pieces_is_as_one(monkeypatch, some_words):
    text = " ".join(some_words(2000))
    whole = ngram_hashes(text, 5)
    monkeypatch.setattr("yxanul.text.words.PIECE_CHARS", 100)
    assert np.array_equal(ngram_hashes(text, 5), whole)
    assert len(whole) == 1996


def test_of_a_giant_only_the_beginning_is_compared(monkeypatch, some_words):
    words = some_words(300)
    monkeypatch.setattr(minhash, "_MAX_WORDS", 100)
    monkeypatch.setattr("yxanul.text.words.PIECE_CHARS", 64)
    assert np.array_equal(ngram_hashes(" ".join(words), 5), ngram_hashes(" ".join(words[:100]), 5))
