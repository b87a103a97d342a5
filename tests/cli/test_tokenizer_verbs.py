"""`yxanul tokenizer` as people call it: output, JSON, pictures, mistakes."""

import json

import pytest

from recipes import write_tiny
from running import call
from yxanul.tokenizer.tokenizer import Tokenizer

SENTENCE = "The small fox number {} ran over the hill to the red barn. "


def yxanul(*words, cwd):
    return call("tokenizer", *words, cwd=cwd)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with texts of three kinds and two tokenizers trained on them."""
    folder = tmp_path_factory.mktemp("tokenizers")
    texts = folder / "texts"
    texts.mkdir()
    stories = [SENTENCE.format(number) * 9 for number in range(120)]
    (texts / "a.txt").write_text("\n<|endoftext|>\n".join(stories))
    rows = [json.dumps({"text": SENTENCE.format(f"{n} of rows")}) for n in range(50)]
    (texts / "b.jsonl").write_text("\n".join(rows))
    (texts / "notes.bin").write_bytes(b"\0")
    write_tiny(folder)
    for kind in ("bpe", "superbpe"):
        result = yxanul("train", kind, "texts", "--vocab-size", 330, "--out", kind, cwd=folder)
        assert result.code == 0, result.err
    return folder


def test_train_says_what_came_out(place):
    words = ["--vocab-size", 320, "--transition", 280, "--special-token", "<step>"]
    words += ["--chat-template", "chatml", "--out", "made", "--json"]
    result = yxanul("train", "superbpe", "texts/a.txt", *words, cwd=place)
    assert result.code == 0, result.err
    facts = json.loads(result.out)
    assert (facts["kind"], facts["vocab_size"], facts["transition"]) == ("superbpe", 320, 280)
    assert list(facts["added_tokens"]) == ["<|endoftext|>", "<step>", "<|im_start|>", "<|im_end|>"]
    assert facts["bytes_per_token"] == pytest.approx(facts["held_out"]["bytes_per_token"])
    assert facts["bytes_per_token"] > 1.5
    made = Tokenizer.load(place / "made")
    assert made.digest == facts["digest"]
    assert made.encode("<step>") == [made.end_of_text_id + 1]
    assert made.chat_template


def test_train_on_the_text_of_a_recipe(place):
    words = ("--recipe", "tiny.yaml", "--vocab-size", 300, "--out", "of-recipe", "--json")
    result = yxanul("train", *words, cwd=place)
    assert result.code == 0, result.err
    assert json.loads(result.out)["held_out"]["documents"] > 5


def test_show_ids_and_tokens(place):
    facts = json.loads(yxanul("show", "byte", "--text", "Añ", "--json", cwd=place).out)
    assert facts["ids"] == list("Añ".encode())
    assert len(facts["tokens"]) == 3
    shown = yxanul("show", "superbpe", "--text", "ran over the hill", cwd=place).out
    first, *lines = shown.splitlines()
    assert first.startswith(f"{len(lines)} tokens, ")
    tokens = [line.split("'")[1] for line in lines]
    assert "".join(tokens) == "ran over the hill"
    assert any(" " in token.strip() for token in tokens)


def test_show_what_it_is(place):
    facts = json.loads(yxanul("show", "superbpe", "--json", cwd=place).out)
    assert (facts["kind"], facts["vocab_size"]) == ("superbpe", 330)
    assert facts["end_of_text_id"] == 329
    shown = yxanul("show", "superbpe/tokenizer.json", cwd=place).out
    assert "330 ids" in shown and facts["digest"] in shown


def test_compare(place):
    pytest.importorskip("matplotlib")
    words = ["compare", "byte", "bpe", "superbpe", "--text", "prose=texts/a.txt"]
    words += ["--text", "texts/b.jsonl"]
    result = yxanul(*words, "--picture", "bars.svg", cwd=place)
    assert result.code == 0, result.err
    assert "█" in result.out
    table = [line.split() for line in result.out.splitlines()]
    assert ["bytes", "per", "token", "byte", "bpe", "superbpe"] in table
    facts = json.loads(yxanul(*words, "--json", cwd=place).out)["tokenizers"]
    assert list(facts) == ["byte", "bpe", "superbpe"]
    for domain in ("prose", "b", "all"):
        byte, bpe, superwords = (facts[name]["domains"][domain] for name in facts)
        assert byte["tokens"] == byte["bytes"] == bpe["bytes"] == superwords["bytes"]
        assert byte["bytes_per_token"] == 1 < bpe["bytes_per_token"]
        assert bpe["bytes_per_token"] < superwords["bytes_per_token"]
    assert facts["byte"]["domains"]["prose"]["documents"] == 120
    assert facts["byte"]["domains"]["b"]["documents"] == 50
    picture = (place / "bars.svg").read_text()
    assert picture.startswith("<?xml") and "</svg>" in picture


def test_equal_figures_are_equal_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    from yxanul.cli.tokenizer_compare import draw

    for name in ("one.svg", "two.svg"):
        draw(tmp_path / name, {"prose": {"byte": 1.0, "bpe": 3.0}})
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_a_plain_file_is_measured_whole(place):
    (place / "plain.txt").write_text("One paragraph.\n\nAnother one.\n" * 400)
    words = ("compare", "byte", "--text", "plain.txt", "--json")
    facts = json.loads(yxanul(*words, cwd=place).out)["tokenizers"]["byte"]["domains"]
    assert list(facts) == ["plain"]
    assert facts["plain"]["documents"] == 1
    assert facts["plain"]["bytes"] in range(400 * 29 - 1, 400 * 29 + 1)


def test_compare_the_held_out_text_of_a_recipe(place):
    facts = json.loads(yxanul("compare", "byte", "--recipe", "tiny.yaml", "--json", cwd=place).out)
    assert set(facts["tokenizers"]["byte"]["domains"]) == {"stories", "math", "all"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "texts"], "expected --out DIR"),
        (["train", "--out", "x"], "no text"),
        (["train", "nowhere", "--out", "x"], "there is no file or folder nowhere"),
        (["train", "texts", "--recipe", "tiny.yaml", "--out", "x"], "two sources"),
        (["train", "texts", "--out", "x", "--vocab-size", 9], "vocab_size; got 9; expected"),
        (["train", "texts", "--out", "x", "--transition", 300], "--transition needs"),
        (["train", "texts", "--out", "x", "--chat-template", "chatmm"], "did you mean 'chatml'"),
        (["train", "texts", "--out", "texts/a.txt"], "not a folder"),
        (["train", "texts", "--out", "texts/a.txt/b"], "not a folder"),
        (["train", "texts", "--out", ""], "--out; got ''"),
        (["train", "texts", "--out", "."], "holds a model"),
        (["show", "bytee"], "did you mean 'byte'"),
        (["show", "texts"], "holds no tokenizer"),
        (["show", "texts/a.txt"], "not a tokenizer"),
        (["compare", "byte"], "no text"),
        (["compare", "byte", "byte", "--text", "texts"], "duplicate tokenizer"),
        (["compare", "byte", "--text", "=x"], "expected DOMAIN=PATH"),
        (["compare", "byte", "--text", "all=texts"], "cannot be named 'all'"),
        (["compare", "byte", "--text", "all.txt"], "cannot be named 'all'"),
        (["compare", "byte", "--text", "a=nowhere"], "there is no file or folder nowhere"),
        (["compare", "byte", "--text", "texts", "--picture", "x.gif"], ".svg or .png"),
    ],
)
def test_a_mistake_is_one_line(place, words, message):
    (place / "config.json").write_text("{}")
    (place / "all.txt").write_text("a")
    said = yxanul(*words, cwd=place)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert message in said.err


def test_without_matplotlib_nothing_is_measured(place, monkeypatch):
    import importlib.util

    from yxanul.base.errors import YxanulError
    from yxanul.cli.tokenizer_compare import check_picture

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(YxanulError, match=r"pip install 'yxanul\[plot\]'"):
        check_picture(place / "x.svg")
