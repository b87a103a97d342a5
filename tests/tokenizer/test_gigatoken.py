"""The fast way to ids gives exactly those of the library, and steps aside where it might not."""

import importlib
import json
import random
import subprocess
import sys
import sysconfig
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import Regex, models, pre_tokenizers

from yxanul.base.errors import YxanulError
from yxanul.base.ui import SilentUi
from yxanul.tokenizer import gigatoken
from yxanul.tokenizer.build import build_bpe, build_byte, build_gpt2, byte_level
from yxanul.tokenizer.config import BpeSettings, ByteSettings, Gpt2Settings
from yxanul.tokenizer.tokenizer import Tokenizer

END = "<|endoftext|>"
SURROGATES = range(0xD800, 0xE000)
STDLIB = Path(sysconfig.get_path("stdlib"))
needs_package = pytest.mark.skipif(
    importlib.util.find_spec(gigatoken.PACKAGE) is None, reason="needs gigatoken (extra 'data')"
)


def own_texts():
    return [path.read_text() for path in sorted(STDLIB.glob("[a-d]*.py"))]


@pytest.fixture(scope="module")
def own():
    """A trained BPE with tokens of its own added to it, one special and one not."""
    trained = build_bpe(BpeSettings(vocab_size=3000), lambda: own_texts()[::3], SilentUi())
    raw = tokenizers.Tokenizer.from_str(trained.to_json())
    raw.add_special_tokens(["<pad>"])
    raw.add_tokens([tokenizers.AddedToken("<step>", lstrip=True, normalized=False)])
    return Tokenizer(raw, END)


@pytest.fixture(scope="module")
def gpt2(shared_data):
    return build_gpt2(Gpt2Settings(path=str(shared_data / "gpt2")), list, SilentUi())


@pytest.fixture(params=["own", "gpt2"])
def tokenizer(request):
    found = request.getfixturevalue(request.param)
    assert found.make_ready() == gigatoken.PACKAGE
    return found


def slow_documents(tokenizer, texts):
    """What `encode_documents` has to give, from the library alone."""
    rows = [np.array([*row, tokenizer.end_of_text_id]) for row in tokenizer.encode_batch(texts)]
    return np.concatenate(rows), np.cumsum([len(row) for row in rows])


def check(tokenizer, texts):
    ids, ends = tokenizer.encode_documents(texts)
    expected_ids, expected_ends = slow_documents(tokenizer, texts)
    assert (ids.dtype, ends.dtype) == (np.uint32, np.int64)
    assert np.array_equal(ends, expected_ends)
    assert np.array_equal(ids, expected_ids)


SPACES = " \t\n\r\x0b\x0c\x1c\x85\xa0\u2000\u2028\u3000\u180e\u200b'’"
BITS = ["'s", "'ll", "'RE", "  ", "\n\n", "123", "٣٤", "½", "²", "Ⅻ", "한국", "ß", "ﬁ", "e\u0301"]
BITS += ["👩‍👩‍👧", "<|", "|>", END, "<pad>", "<step>", " <step> ", "\x00", "\ufeff", "नमस्ते"]


def random_text(rng):
    return "".join(_random_piece(rng) for _ in range(rng.randint(0, 40)))


def _random_piece(rng):
    kind = rng.random()
    if kind < 0.35:
        return chr(rng.randrange(0x80))
    if kind < 0.5:
        return rng.choice(SPACES)
    if kind < 0.6:
        return rng.choice(BITS)
    if kind < 0.7:
        return "".join(rng.choices("etaoinshrdlu", k=rng.randint(1, 12)))
    code = rng.randrange(rng.choice([0x100, 0x3000, 0x20000, 0x110000]))
    return "a" if code in SURROGATES else chr(code)


def in_batches(items, size):
    items = list(items)
    return [items[start : start + size] for start in range(0, len(items), size)]


@needs_package
@pytest.mark.parametrize("count", [2000, pytest.param(150_000, marks=pytest.mark.slow)])
def test_random_text(tokenizer, count):
    rng = random.Random(count)
    for batch in in_batches((random_text(rng) for _ in range(count)), 1000):
        check(tokenizer, batch)


@needs_package
@pytest.mark.parametrize(
    "codes",
    [range(0, 0x3100, 3), pytest.param(range(0x110000), marks=pytest.mark.slow)],
    ids=["some", "all"],
)
def test_code_points(own, codes):
    """Each alone, and beside letters, digits, white space, apostrophes and itself."""
    for batch in in_batches((c for c in codes if c not in SURROGATES), 2000):
        texts = [chr(code) for code in batch]
        for c in map(chr, batch):
            texts.append(f"a{c}a1{c}1 {c} {c}{c}'{c}s{c}'s \n{c}\n  {c}!{c}!\t{c}é{c}½{c}")
        check(own, texts)


@needs_package
@pytest.mark.parametrize("length", [3, pytest.param(5, marks=pytest.mark.slow)])
def test_all_short_texts_over_the_classes(own, length):
    """One or more characters of each class of the regex, in every order."""
    alphabet = "asl1'! \t\né½—\xa0\u3000"
    for n in range(1, length + 1):
        for batch in in_batches(map("".join, product(alphabet, repeat=n)), 50_000):
            check(own, batch)


@needs_package
def test_standard_library(tokenizer):
    check(tokenizer, own_texts())


@needs_package
def test_real_text(tokenizer, shared_data):
    stories = (shared_data / "stories" / "tinystories.txt").read_text()[:500_000]
    wiki = (shared_data / "wiki" / "articles_30.txt").read_text().splitlines()
    web = (shared_data / "web" / "c4_200.jsonl").read_text().splitlines()
    check(tokenizer, [*stories.split(END), *wiki, *(json.loads(line)["text"] for line in web)])


@needs_package
def test_names_of_tokens_in_the_text(tokenizer):
    check(tokenizer, [f"one {END} two", END, END * 3, "<|endof", "text|>", f" {END}\n", "<|" * 9])
    check(tokenizer, ["a <step> b", "<step>", "x<pad>y", "<pad><step>" + END, "<pa", "d>"])


@needs_package
@pytest.mark.parametrize(
    "text", ["", "word" * 1_250_000, " " * 300_000, "a\n" * 150_000], ids=lambda text: text[:2]
)
def test_sizes(own, text):
    check(own, [text, "", "b"])


def test_nothing_at_all(own):
    ids, ends = own.encode_documents([])
    assert (ids.dtype, ids.shape, ends.dtype, ends.shape) == (np.uint32, (0,), np.int64, (0,))


def test_broken_unicode(own):
    with pytest.raises(YxanulError, match="unpaired surrogate"):
        own.encode_documents(["good", "bad \ud83d", "good"])


@needs_package
def test_unusual_merges():
    """Words without merges, merges in another order than the ids, ids in any order."""
    content = json.loads(build_bpe(BpeSettings(), own_texts, SilentUi()).to_json())
    model, rng = content["model"], random.Random(0)
    rng.shuffle(model["merges"])
    del model["merges"][::7]
    numbers = list(range(len(model["vocab"])))
    rng.shuffle(numbers)
    model["vocab"] = dict(zip(model["vocab"], numbers, strict=True))
    tokenizer = Tokenizer.from_json(json.dumps(content), END)
    assert tokenizer.make_ready() == gigatoken.PACKAGE
    check(tokenizer, own_texts()[:20])


def other_kinds():
    yield (
        "byte regex off",
        byte_level(models.BPE()),
        lambda raw: setattr(raw, "pre_tokenizer", pre_tokenizers.ByteLevel(False, use_regex=False)),
    )
    yield "space in front", byte_level(models.BPE(), add_prefix_space=True), None
    yield (
        "normalizer",
        byte_level(models.BPE()),
        lambda raw: setattr(raw, "normalizer", tokenizers.normalizers.NFC()),
    )
    for option in ({"dropout": 0.5}, {"ignore_merges": True}, {"byte_fallback": True}):
        yield str(option), byte_level(models.BPE(**option)), None
    split = pre_tokenizers.Split(Regex(r"\d"), "isolated")
    yield (
        "splits",
        byte_level(models.BPE()),
        lambda raw: setattr(
            raw, "pre_tokenizer", pre_tokenizers.Sequence([split, raw.pre_tokenizer])
        ),
    )


@pytest.mark.parametrize("kind", list(other_kinds()), ids=lambda kind: kind[0])
def test_other_kinds_are_left_alone(kind):
    _, raw, change = kind
    raw.model = _with_bytes(raw.model)
    assert gigatoken.is_plain(json.loads(byte_level(_with_bytes(models.BPE())).to_str()), END)
    if change:
        change(raw)
    assert not gigatoken.is_plain(json.loads(raw.to_str()), END)


def _with_bytes(model):
    kept = {name: getattr(model, name) for name in ("dropout", "ignore_merges", "byte_fallback")}
    vocab = {symbol: i for i, symbol in enumerate(gigatoken.byte_symbols())}
    return models.BPE(vocab=vocab, merges=[], **kept)


def test_an_end_of_text_that_text_may_spell_otherwise():
    """In the byte alphabet the token 'Ġ' is a space: a text need not hold its name to give it."""
    raw = byte_level(_with_bytes(models.BPE()))
    assert not gigatoken.is_plain(json.loads(raw.to_str()), "Ġ")
    assert not gigatoken.is_plain(
        json.loads(byte_level(models.BPE()).to_str()), END
    )  # no bytes at all


def test_switched_off(own, monkeypatch):
    monkeypatch.setenv(gigatoken.SWITCH, "0")
    assert_slow(own)


def test_without_the_package(own, monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(gigatoken.importlib, "import_module", absent)
    assert_slow(own)


def assert_slow(own):
    tokenizer = Tokenizer.from_json(own.to_json(), END)
    assert tokenizer.make_ready() == "tokenizers"
    texts = ["some text", "", f"more {END} text", "é\u0c5c"]
    check(tokenizer, texts)
    assert all(map(np.array_equal, tokenizer.encode_documents(texts), own.encode_documents(texts)))


def stub(own, encode, unlike=(), slow=None, load=None):
    """An encoder of which the fast half is `encode`."""
    table = np.zeros(0x110000, np.bool_)
    table[list(unlike)] = True
    return gigatoken.FastEncoder(load or (lambda: encode), slow or own.encode_batch, [END], table)


@pytest.mark.parametrize("text", ["short", "long " * 3000], ids=["short", "long"])
def test_a_wrong_id_is_found_on_the_spot(own, text):
    def wrong(text):
        return np.array([*own.encode(text)[:-1], 7], np.uint32)

    with pytest.raises(YxanulError, match=f"different token ids.*{gigatoken.SWITCH}=0"):
        stub(own, wrong).encode([text])


def test_a_token_that_differs_is_found(own):
    """But not beside a token's name, which the library encodes."""

    def wrong(text):
        return np.array(own.encode(text)[:-1], np.uint32)

    assert not stub(own, wrong).agrees(["some", "tokens"])
    assert stub(own, wrong).agrees([END])


def test_spot_checks_go_round(own):
    seen = []

    def remember(texts):
        seen.extend(texts)
        return own.encode_batch(texts)

    encoder = stub(own, lambda text: np.array(own.encode(text), np.uint32), slow=remember)
    texts = [f"text number {n}" for n in range(10)]
    for _ in range(40):
        encoder.encode(texts)
    assert set(seen) == set(texts)


def test_only_what_is_safe_is_encoded_fast(own):
    seen = []

    def encode(text):
        seen.append(text)
        return np.array(own.encode(text), np.uint32)

    texts = ["plain", f"an {END}", "naïve", "un\u0c5clike", "half <|endof"]
    rows = stub(own, encode, [0xC5C]).encode(texts)
    assert seen == ["plain", "naïve", "half <|endof"]
    assert [row.tolist() for row in rows] == own.encode_batch(texts)


def test_memory_is_given_back(own, monkeypatch):
    monkeypatch.setattr(gigatoken, "_CHARS_BETWEEN", 20)
    held = iter(range(0, 10 << 30, gigatoken._GROWTH_BYTES + 1))
    monkeypatch.setattr(gigatoken, "_resident_bytes", lambda: next(held))
    made = []

    def encode(text):
        return np.array(own.encode(text), np.uint32)

    encoder = stub(own, encode, load=lambda: made.append(1) or encode)
    for _ in range(9):
        encoder.encode(["ten chars."])
    assert len(made) == 1 + 3


def test_versions_that_were_never_compared(own, monkeypatch):
    monkeypatch.setattr(gigatoken, "version", {"gigatoken": "0.11.0", "tokenizers": "1.0"}.get)
    assert_slow(own)
    assert "gigatoken 0.11.0 and tokenizers 1.0 were never compared" in gigatoken.warning()
    monkeypatch.setenv(gigatoken.SWITCH, "0")
    assert gigatoken.warning() is None


@needs_package
def test_the_installed_versions_need_no_warning():
    assert gigatoken.warning() is None


@needs_package
def test_workers_find_what_was_found_before_them(own, tmp_path):
    """Another process, which has the same cache, asks neither library again."""
    Tokenizer.from_json(own.to_json(), END).make_ready()
    (tmp_path / "own.json").write_text(own.to_json())
    code = (
        "import sys, pathlib\n"
        "from yxanul.tokenizer import gigatoken\n"
        "from yxanul.tokenizer.tokenizer import Tokenizer\n"
        "def never(*_): raise AssertionError('asked again')\n"
        "gigatoken.FastEncoder.agrees = never\n"
        "print(Tokenizer.load(pathlib.Path(sys.argv[1])).make_ready())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "own.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.strip() == gigatoken.PACKAGE, done.stderr


@needs_package
def test_nothing_is_fast_when_a_token_differs(own, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(gigatoken.FastEncoder, "agrees", lambda *_: False)
    assert Tokenizer.from_json(own.to_json(), END).make_ready() == "tokenizers"


@needs_package
def test_a_cache_that_cannot_be_written_only_costs_time(own, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert Tokenizer.from_json(own.to_json(), END).make_ready() == gigatoken.PACKAGE


@needs_package
def test_bytes_alone_are_fast_too():
    tokenizer = build_byte(ByteSettings(), list, SilentUi())
    assert tokenizer.make_ready() == gigatoken.PACKAGE
    check(tokenizer, ["all bytes: é \u0c5c", "", END])
