import json
import random
import re

import numpy as np
import pytest

from yxanul.base.errors import YxanulError
from yxanul.data.contamination import benchmark_texts
from yxanul.text import words as words_module
from yxanul.text.decontaminate import Decontaminate, Ngrams, ngrams_of, words_of
from yxanul.text.documents import Document

TEST = [f"test{n}" for n in range(40)]
OTHER = [f"other{n}" for n in range(40)]


def is_hit(texts, document):
    cause = Decontaminate(ngrams_of(texts)).cause(Document("d", document))
    assert cause in (None, "contaminated")
    return cause is not None


def planted(words, before=20, after=20):
    return " ".join([*OTHER[:before], *words, *OTHER[20 : 20 + after]])


@pytest.mark.parametrize(("before", "after"), [(20, 20), (0, 20), (20, 0), (0, 0), (1, 1)])
@pytest.mark.parametrize("start", [0, 7, 27])
def test_thirteen_words_are_found_and_twelve_are_not(start, before, after):
    texts = [" ".join(TEST)]
    assert is_hit(texts, planted(TEST[start : start + 13], before, after))
    assert not is_hit(texts, planted(TEST[start : start + 12], before, after))


def test_a_gap_or_another_order_is_no_run():
    words = TEST[:13]
    assert not is_hit([" ".join(TEST)], planted([*words[:6], "gap", *words[6:]]))
    assert not is_hit([" ".join(TEST)], planted([*words[:5], words[6], words[5], *words[7:]]))


@pytest.mark.parametrize("between", [", ", "\n\n", " -- ", "_", "\u2019", "...\t", "\u3000", "🙂"])
def test_what_stands_between_words_does_not_matter(between):
    assert is_hit([" ".join(TEST)], planted([between.join(TEST[3:16]).upper()]))
    assert is_hit([between.join(TEST).title()], planted(TEST[3:16]))


def test_words_are_the_same_in_ascii_and_other_texts():
    text = "It's a TEST_case: 3.14 (Émile's); e=mc2\n"
    ascii_words = words_of(text.replace("É", "E"))
    assert ascii_words == ["it", "s", "a", "test", "case", "3", "14", "emile", "s", "e", "mc2"]
    assert words_of(text) == [word.replace("emile", "émile") for word in ascii_words]
    everything = "".join(map(chr, range(128)))
    assert words_of(everything) == words_of(everything + "\u2019")


@pytest.mark.parametrize("count", range(8, 13))
def test_a_short_text_is_hunted_as_a_whole(count):
    short = " ".join(TEST[:count])
    assert is_hit([short], planted([short.upper() + "!"]))
    assert is_hit([short], short)
    assert not is_hit([short], planted(TEST[: count - 1]))
    assert not is_hit([short], planted([*TEST[1:count]]))


def test_shorter_texts_are_counted_and_not_hunted():
    ngrams = ngrams_of([" ".join(TEST[:7]), "", "one"])
    assert len(ngrams) == 0 and ngrams.too_short == 3
    assert not is_hit([" ".join(TEST[:7])], planted(TEST[:7]))


def test_lengths_do_not_get_mixed_up():
    """Twelve words of a long text are nothing, though a text of twelve words is hunted too."""
    texts = [" ".join(TEST), " ".join(OTHER[:12])]
    assert not is_hit(texts, " ".join(["x", *TEST[:12], "y"]))
    assert is_hit(texts, " ".join(["x", *OTHER[:12], "y"]))


def test_counting_is_not_hunted():
    counting = " ".join(map(str, range(1, 30)))
    assert not is_hit([counting], counting)
    assert is_hit([counting + " done"], " ".join(map(str, range(18, 30))) + " done")


def test_the_fast_search_is_the_slow_one_on_random_texts(monkeypatch):
    monkeypatch.setattr(words_module, "PIECE_CHARS", 50)
    draw, hits = random.Random(3), 0
    for _ in range(150):
        texts = [" ".join(draw.choices("ab", k=draw.randint(5, 14))) for _ in range(8)]
        documents = [" ".join(draw.choices("ab", k=draw.randint(0, 60))) for _ in range(8)]
        one = Decontaminate(ngrams_of(texts))
        for document in documents:
            found = one.cause(Document("d", document)) is not None
            assert found == slow_hit(texts, document)
            hits += found
    assert 100 < hits < 1100


def slow_words(text):
    return re.findall(r"[^\W_]+", text.lower())


def slow_grams(words, n):
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def slow_wanted(texts):
    wanted = {n: set() for n in range(8, 14)}
    for words in map(slow_words, texts):
        if len(words) >= 8:
            wanted[min(13, len(words))] |= slow_grams(words, min(13, len(words)))
    return wanted


def slow_hit(texts, document, wanted=None):
    wanted, words = wanted or slow_wanted(texts), slow_words(document)
    return any(grams & slow_grams(words, n) for n, grams in wanted.items() if grams)


def test_how_a_long_document_is_cut_changes_nothing(monkeypatch):
    document = planted(TEST[:13], 20, 20)
    for size in (1, 2, 50, 100, 150, 1000):
        monkeypatch.setattr(words_module, "PIECE_CHARS", size)
        assert is_hit([" ".join(TEST)], document)
        assert not is_hit([" ".join(TEST)], planted(TEST[:12]))


def test_saved_and_loaded_it_is_the_same(tmp_path):
    ngrams = ngrams_of([" ".join(TEST), " ".join(OTHER[:9]), "short"])
    paths = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for path in paths:
        ngrams.save(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    loaded = Ngrams.load(paths[0])
    loaded.save(tmp_path / "three.npz")
    assert (tmp_path / "three.npz").read_bytes() == paths[0].read_bytes()
    assert (len(loaded), loaded.too_short) == (len(ngrams), 1) == (28 + 1, 1)
    assert Decontaminate(loaded).cause(Document("d", planted(OTHER[:9]))) == "contaminated"
    assert loaded.by_length.keys() == {9, 13}


def test_the_order_of_the_texts_does_not_matter(tmp_path):
    texts = [" ".join(TEST[n : n + 15]) for n in range(20)]
    for name, some in (("one", texts), ("two", texts[::-1])):
        ngrams_of(some).save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_nothing_to_hunt_finds_nothing():
    assert not is_hit([], planted(TEST))


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut", b"no arrays at all"])
def test_a_file_of_another_kind_is_an_error_in_one_line(tmp_path, content):
    path = tmp_path / "ngrams.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(YxanulError, match=r"ngrams\.npz is not a file") as info:
        Ngrams.load(path)
    assert "\n" not in str(info.value)


def test_an_archive_of_other_arrays_is_an_error(tmp_path):
    np.savez(tmp_path / "ngrams.npz", other=np.zeros(3))
    with pytest.raises(YxanulError, match=r"ngrams\.npz .*benchmark"):
        Ngrams.load(tmp_path / "ngrams.npz")


def test_real_problems_for_training_against_those_of_the_test(shared_data):
    folder = shared_data / "math"
    texts = list(benchmark_texts("gsm8k", str(folder / "gsm8k_test.jsonl")))
    one = Decontaminate(ngrams_of(texts))
    rows = map(json.loads, (folder / "gsm8k_train.jsonl").read_text().splitlines())
    documents = [f"{row['question']}\n{row['answer']}" for row in rows]
    hits = [one.cause(Document("d", text)) is not None for text in documents]
    wanted = slow_wanted(texts)
    assert hits == [slow_hit(texts, text, wanted) for text in documents]
    assert sum(hits) == 10
    for text in texts[::100]:
        assert one.cause(Document("d", f"Before it.\n{text} After it.")) == "contaminated"


def test_real_stories_are_clean(shared_data):
    texts = list(benchmark_texts("triviaqa", str(shared_data / "benchmarks/triviaqa_1500.jsonl")))
    one = Decontaminate(ngrams_of(texts))
    text = (shared_data / "stories" / "tinystories.txt").read_text()
    documents = [Document("d", story) for story in text.split("<|endoftext|>")[:3000]]
    assert {one.cause(document) for document in documents} == {None}
