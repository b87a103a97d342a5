"""SuperBPE: the published tokenizer by its known figures, and training one."""

import gzip
import json
from collections import Counter

import pytest
import tokenizers

from yxanul.base.errors import YxanulError
from yxanul.base.ui import SilentUi
from yxanul.text.split import is_held_out
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.compare import measure
from yxanul.tokenizer.config import (
    BpeSettings,
    Gpt2Settings,
    SuperBpeSettings,
    SuperBpeT80kSettings,
)
from yxanul.tokenizer.pre_tokenizers import count_words, has_superwords, token_bytes
from yxanul.tokenizer.superbpe import train


def no_text():
    raise AssertionError("this kind needs no text")


@pytest.fixture(scope="module")
def t80k(shared_data):
    settings = SuperBpeT80kSettings(path=str(shared_data / "superbpe"))
    return build_tokenizer(settings, no_text, SilentUi())


@pytest.fixture(scope="module")
def gpt2(shared_data):
    return build_tokenizer(Gpt2Settings(path=str(shared_data / "gpt2")), no_text, SilentUi())


def rows(path):
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    return [json.loads(line) for line in content.splitlines()]


def test_golden_ids(t80k):
    assert t80k.vocab_size == 200_005
    assert (t80k.end_of_text, t80k.end_of_text_id) == ("<|endoftext|>", 200_004)
    assert t80k.tokens([200_001]) == ["<|padding|>"]
    ids = t80k.encode("By the way, I am a fan of the Milky Way.")
    assert ids == [89353, 115616, 104249, 100117, 13]
    tokens = t80k.tokens(t80k.encode("Answer: 1234567 apples"))
    assert tokens == ["Answer:", " ", "1", "234", "567", " apples"]


def test_special_names_in_text_are_text(t80k):
    for name in train.T80K_SPECIAL:
        ids = t80k.encode(f"a {name} b")
        assert max(ids) < 200_000
        assert t80k.decode(ids) == f"a {name} b"


def test_words_by_token(shared_data):
    vocab = json.loads((shared_data / "superbpe" / "vocab.json").read_text())
    tokens = {number: token_bytes(token) for token, number in vocab.items()}
    counts = Counter(map(count_words, tokens.values()))
    assert [counts[n] for n in (1, 2, 3, 4)] == [107_338, 57_265, 28_416, 6_919]
    assert sum(counts[n] for n in counts if n > 1) == 92_607
    assert not any(b": " in token for token in tokens.values())
    assert max(count_words(token) for number, token in tokens.items() if number >= 80_000) == 4


def test_characters_per_token(t80k, gpt2, shared_data):
    gsm8k = [
        f"Question: {row['question']}\nAnswer: {row['answer']}"
        for row in rows(shared_data / "math" / "gsm8k_test.jsonl")
    ]
    tasks = rows(shared_data / "code" / "HumanEval.jsonl.gz")
    texts = {
        (6.766, 4.567): [row["text"] for row in rows(shared_data / "web" / "c4_200.jsonl")],
        (4.424, 3.466): gsm8k,
        (4.207, 2.361): [task["prompt"] + task["canonical_solution"] for task in tasks],
    }
    for wanted, several in texts.items():
        found = [measure(tokenizer, several).characters_per_token for tokenizer in (t80k, gpt2)]
        assert [round(figure, 3) for figure in found] == list(wanted)


def test_what_is_no_t80k_is_refused(tmp_path, shared_data):
    with pytest.raises(YxanulError, match=r"vocab\.json is missing"):
        build_tokenizer(SuperBpeT80kSettings(path=str(tmp_path)), no_text, SilentUi())
    for ours, theirs in (("vocab.json", "encoder.json"), ("merges.txt", "vocab.bpe")):
        (tmp_path / ours).write_bytes((shared_data / "gpt2" / theirs).read_bytes())
    with pytest.raises(
        YxanulError, match=r"does not contain .*got 50,257 tokens; expected 200,000"
    ):
        build_tokenizer(SuperBpeT80kSettings(path=str(tmp_path)), no_text, SilentUi())
    (tmp_path / "merges.txt").write_text("no merges here")
    with pytest.raises(YxanulError, match="no valid SuperBPE vocabulary") as caught:
        build_tokenizer(SuperBpeT80kSettings(path=str(tmp_path)), no_text, SilentUi())
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def stories(shared_data):
    text = (shared_data / "stories" / "tinystories.txt").read_text()[:700_000]
    return text.split("\n<|endoftext|>\n")


def trained(settings, texts):
    return build_tokenizer(settings, lambda: texts, SilentUi())


def test_it_needs_fewer_tokens_than_bpe_on_text_it_has_not_seen(stories):
    learnt = [story for story in stories if not is_held_out(story, 0.1)]
    held_out = [story for story in stories if is_held_out(story, 0.1)]
    bpe = trained(BpeSettings(vocab_size=3000), learnt)
    superwords = trained(SuperBpeSettings(vocab_size=3000), learnt)
    assert superwords.vocab_size == bpe.vocab_size == 3000
    gain = measure(superwords, held_out).bytes_per_token / measure(bpe, held_out).bytes_per_token
    assert gain > 1.2


def test_the_stock_library_reads_it(stories, tmp_path):
    made = trained(SuperBpeSettings(vocab_size=1200, transition=700), stories[:300])
    made.save(tmp_path / "tokenizer.json")
    stock = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = stories[0] + " It cost 1234567: too much for 3 friends. naïve 日本語\n\n\t<|endof"
    assert stock.encode(text).ids == made.encode(text)
    tokens = [token_bytes(stock.id_to_token(i)) for i in range(stock.get_vocab_size() - 1)]
    assert not has_superwords(stock.id_to_token(i) for i in range(700))
    assert has_superwords(stock.id_to_token(i) for i in range(1199))
    assert not any(b": " in token for token in tokens)
    assert max(map(count_words, tokens[700:])) == 4
    assert not any(token[-1:].isdigit() and len(token) > 3 for token in tokens)


def test_the_same_text_gives_the_same_tokenizer(stories):
    settings = SuperBpeSettings(vocab_size=900)
    first, second = (trained(settings, stories[:100]) for _ in range(2))
    assert first.digest == second.digest


def test_little_text_gives_fewer_tokens_and_says_so():
    class Listener(SilentUi):
        lines: list[str] = []  # noqa: RUF012

        def warn(self, line):
            self.lines.append(line)

    settings = SuperBpeSettings(vocab_size=4096)
    made = build_tokenizer(settings, lambda: ["The fox ran. The fox ran."] * 3, Listener())
    assert 257 < made.vocab_size < 400
    assert made.end_of_text_id == made.vocab_size - 1
    assert str(made.vocab_size) in Listener.lines[0]
    with pytest.raises(YxanulError, match="no text"):
        trained(settings, [])


def test_a_long_text_is_trained_on_in_pieces(monkeypatch):
    monkeypatch.setattr(train, "MAX_TEXT_CHARS", 1000)
    text = "The fox ran over the hill. " * 400
    assert trained(SuperBpeSettings(vocab_size=300), [text]).vocab_size > 280


def test_half_a_surrogate_pair_does_not_stop_training():
    made = trained(SuperBpeSettings(vocab_size=280), ["the fox \ud800 ran the fox ran"] * 3)
    assert made.decode(made.encode("the fox ran")) == "the fox ran"


def test_ctrl_c_stops_training_at_once():
    class Stopping(SilentUi):
        def task(self, title, total, unit):
            if title == "tokenizer, across words":
                raise KeyboardInterrupt
            return super().task(title, total, unit)

    with pytest.raises(KeyboardInterrupt):
        build_tokenizer(SuperBpeSettings(vocab_size=300), lambda: ["a b c"] * 9, Stopping())


@pytest.mark.slow
@pytest.mark.parametrize("vocab_size", [8192, 32768])
def test_it_beats_bpe_of_its_size_in_every_domain(shared_data, vocab_size):
    texts = {
        "stories": (shared_data / "stories" / "tinystories.txt").read_text().split("<|endoftext|>"),
        "math": [
            f"Question: {row['question']}\nAnswer: {row['answer']}"
            for row in rows(shared_data / "math" / "gsm8k_train.jsonl")
        ],
        "web": [
            f"{row['ctx']} {row['endings'][int(row['label'])]}"
            for row in rows(shared_data / "benchmarks" / "hellaswag_val.jsonl.gz")
        ],
    }
    learnt = [one for several in texts.values() for one in several if not is_held_out(one, 0.05)]
    bpe = trained(BpeSettings(vocab_size=vocab_size), learnt)
    superwords = trained(SuperBpeSettings(vocab_size=vocab_size), learnt)
    for several in texts.values():
        held_out = [one for one in several if is_held_out(one, 0.05)]
        lengths = [measure(tokenizer, held_out).tokens for tokenizer in (superwords, bpe)]
        assert lengths[0] < 0.95 * lengths[1]
