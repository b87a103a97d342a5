import random
from collections import Counter

import pytest

from yxanul.text import words as words_module
from yxanul.text.filters.config import RepetitionFilterSettings
from yxanul.text.filters.repetition import RepetitionFilter

NEVER = dict.fromkeys(
    (
        "duplicate_lines",
        "duplicate_paragraphs",
        "duplicate_line_chars",
        "duplicate_paragraph_chars",
    ),
    1.0,
)
OFF = {**NEVER, "top_ngram_chars": {}, "duplicate_ngram_chars": {}}


def broken(text, **rules):
    return RepetitionFilter(RepetitionFilterSettings(**{**OFF, **rules})).broken_rule(text)


# The rules again, slowly and as they are written down.


def duplicates(pieces):
    return [piece for n, piece in enumerate(pieces) if piece in pieces[:n]]


def lines_of(text):
    return [line.strip() for line in text.split("\n") if line.strip()]


def paragraphs_of(text):
    paragraphs, current = [], []
    for line in [*text.split("\n"), ""]:
        if line.strip():
            current.append(line.strip())
        elif current:
            paragraphs.append("\n".join(current))
            current = []
    return paragraphs


def covered_share(words, starts, n):
    covered = {place for start in starts for place in range(start, start + n)}
    return sum(len(words[place]) for place in covered) / sum(map(len, words))


def slow_rules(text, settings):
    """Return the first rule that is broken, or None."""
    for name, pieces in (("line", lines_of(text)), ("paragraph", paragraphs_of(text))):
        again = duplicates(pieces)
        if pieces and len(again) / len(pieces) > getattr(settings, f"duplicate_{name}s"):
            return f"duplicate_{name}s"
        chars = sum(map(len, again)), sum(map(len, pieces))
        if pieces and chars[0] / chars[1] > getattr(settings, f"duplicate_{name}_chars"):
            return f"duplicate_{name}_chars"
    words = text.split()
    grams = {n: [tuple(words[i : i + n]) for i in range(len(words) - n + 1)] for n in range(1, 11)}
    for n, bound in settings.top_ngram_chars.items():
        counts = Counter(grams[n])
        most = max(counts.values(), default=0)
        if most > 1:
            frequent = [gram for gram in counts if counts[gram] == most]
            top = max(frequent, key=lambda gram: sum(map(len, gram)))
            starts = [i for i, gram in enumerate(grams[n]) if gram == top]
            if covered_share(words, starts, n) > bound:
                return "top_ngram_chars"
    for n, bound in settings.duplicate_ngram_chars.items():
        counts = Counter(grams[n])
        starts = [i for i, gram in enumerate(grams[n]) if counts[gram] > 1]
        if starts and covered_share(words, starts, n) > bound:
            return "duplicate_ngram_chars"
    return None


def random_text(draw):
    """Words out of few or many, sentences that come back, lines and paragraphs."""
    sizes = (draw.randint(1, 9) for _ in range(draw.choice([30, 400, 2000])))
    words = ["".join(draw.choices("abcdefghij", k=size)) for size in sizes]
    sentences = [" ".join(draw.choices(words, k=draw.randint(1, 30))) for _ in range(6)]
    rate, ends = draw.choice([0.0, 0.05, 0.2, 0.4, 0.8]), [" ", "\n", "\n\n", "\n \t\n", " \n"]
    ends = draw.sample(ends, draw.randint(1, 5))
    pieces = []
    for _ in range(draw.randint(0, 25)):
        fresh = " ".join(draw.choices(words, k=draw.randint(1, 30)))
        pieces += [draw.choice(sentences) if draw.random() < rate else fresh, draw.choice(ends)]
    return "".join(pieces)


ALL_SETTINGS = (
    RepetitionFilterSettings(),
    RepetitionFilterSettings(duplicate_lines=1.0, duplicate_line_chars=1.0),
    RepetitionFilterSettings(**NEVER),
    RepetitionFilterSettings(**NEVER, top_ngram_chars={}),
)


def test_the_fast_rules_are_the_slow_ones_on_random_texts():
    draw, found = random.Random(5), Counter()
    for _ in range(150):
        text = random_text(draw)
        for settings in ALL_SETTINGS:
            rule = slow_rules(text, settings)
            assert RepetitionFilter(settings).broken_rule(text) == rule, text
            found[rule] += 1
    assert all(found[rule] >= 1 for rule in (None, *OFF)), found


@pytest.mark.parametrize("n", range(1, 11))
@pytest.mark.parametrize("kind", ["top_ngram_chars", "duplicate_ngram_chars"])
def test_each_share_is_exact_for_each_n(kind, n):
    """A bound just below the share goes, the share itself stays."""
    draw = random.Random(n)
    words = [draw.choice("abc") * draw.randint(1, 3) for _ in range(120)]
    counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    wanted = {gram for gram, count in counts.items() if count > 1}
    if kind == "top_ngram_chars":
        frequent = [gram for gram in counts if counts[gram] == max(counts.values())]
        wanted = {max(frequent, key=lambda gram: sum(map(len, gram)))}
    starts = [i for i in range(len(words)) if tuple(words[i : i + n]) in wanted]
    if max(counts.values()) == 1:
        assert broken(" ".join(words), **{kind: {n: 1e-9}}) is None
        return
    share = covered_share(words, starts, n)
    assert broken(" ".join(words), **{kind: {n: share}}) is None
    assert broken(" ".join(words), **{kind: {n: share - 1e-9}}) == kind


def numbered(count, times=1):
    return [f"line {n} {'x' * 9}" for n in range(count) for _ in range(times)]


def test_three_of_ten_lines_stay_and_four_go():
    lines = [*numbered(7), *numbered(3)]
    assert broken("\n".join(lines), duplicate_lines=0.3) is None
    lines = [*numbered(6), *numbered(4)]
    assert broken(" \n\t".join(lines), duplicate_lines=0.3) == "duplicate_lines"


def test_blank_lines_are_no_duplicates():
    assert broken("a\n\n\n\n\n\nb\n \n \nc", duplicate_lines=0.01) is None


def test_characters_of_lines_are_counted_apart_from_lines():
    lines = ["x" * 20, *(chr(97 + n) * 10 for n in range(6)), "x" * 20]
    assert broken("\n".join(lines), duplicate_line_chars=0.2) is None
    lines[0] = lines[-1] = "x" * 21
    assert broken("\n".join(lines), duplicate_line_chars=0.2) == "duplicate_line_chars"


def test_paragraphs_end_at_blank_lines():
    text = "one\ntwo\n\nthree\n  \n one\ntwo \n\nfour\n\nfive\n\nsix"
    assert broken(text, duplicate_paragraphs=1 / 6) is None
    assert broken(text, duplicate_paragraphs=0.166) == "duplicate_paragraphs"
    chars = len("one\ntwo") / len("one\ntwothreeone\ntwofourfivesix")
    assert broken(text, duplicate_paragraph_chars=chars) is None
    assert broken(text, duplicate_paragraph_chars=chars - 1e-9) == "duplicate_paragraph_chars"


def test_an_ngram_that_occurs_once_repeats_nothing():
    assert broken("all of these words differ", top_ngram_chars={2: 0.01}) is None
    assert RepetitionFilter(RepetitionFilterSettings()).broken_rule("one two") is None


def test_a_character_in_several_ngrams_counts_once():
    assert broken("ha " * 50 + "x" * 100, top_ngram_chars={2: 0.5}) is None
    assert broken("ha " * 50 + "x" * 99, top_ngram_chars={2: 0.5}) == "top_ngram_chars"
    assert broken("ha " * 50 + "x" * 100, duplicate_ngram_chars={5: 0.5}) is None


def test_how_a_long_text_is_cut_changes_nothing(monkeypatch):
    draw = random.Random(1)
    texts = [random_text(draw) for _ in range(60)]
    one = RepetitionFilter(RepetitionFilterSettings())
    whole = [one.broken_rule(text) for text in texts]
    monkeypatch.setattr(words_module, "PIECE_CHARS", 17)
    assert [one.broken_rule(text) for text in texts] == whole
    assert len(set(whole)) >= 4


def test_what_people_wrote_mostly_stays(shared_data):
    text = (shared_data / "stories" / "tinystories.txt").read_text()
    stories = [story for story in text.split("<|endoftext|>") if story.strip()][:1000]
    one = RepetitionFilter(RepetitionFilterSettings())
    dropped = sum(one.broken_rule(story) is not None for story in stories)
    assert 0 < dropped < 50
    settings = RepetitionFilterSettings()
    for story in stories[:60]:
        assert one.broken_rule(story) == slow_rules(story, settings)
