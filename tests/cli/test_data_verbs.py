"""`yxanul data show` and `data verify`, and the report at the end of `yxanul prepare`."""

import json
import re
import shutil
from itertools import pairwise

import pytest

from recipes import TINY, write_tiny
from running import call, flip_a_bit
from yxanul.cli.data_text import report
from yxanul.cli.pictures import END_MARK, elide, escape, length_columns, percent
from yxanul.data.shards import Shards
from yxanul.tokenizer.tokenizer import Tokenizer

FILTER = "math, documents: 120, filters: [{kind: length, min_chars: 160}]"
NASTY = "Red \x1b[31m alarm\x07, \u202eturned\u202c, \u2028 cut\r\x00 \x9b2J, Ω 子 🦊."


def yxanul(*words, code=0):
    """Call a verb, which ends with that code; return stdout and stderr."""
    said = call(*words)
    assert said.code == code, said.err
    return said.out, said.err


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Synthetic text of two kinds, one of them filtered, and nasty text from a file."""
    folder = tmp_path_factory.mktemp("data-verbs")
    texts = [f"{NASTY} Number {number}.\nIts second\tline." for number in range(50)]
    lines = "\n".join(json.dumps({"text": text}) for text in texts)
    (folder / "nasty.jsonl").write_text(lines + "\n")
    nasty = f"    nasty: {{kind: jsonl, path: {folder}/nasty.jsonl}}\n  validation_fraction"
    text = TINY.replace("math, documents: 120", FILTER).replace("  validation_fraction", nasty)
    return write_tiny(folder, text)


@pytest.fixture(scope="module")
def made(recipe):
    """A run that is prepared, and what `prepare` said."""
    out = recipe.parent / "run"
    said = call("prepare", recipe, "--out", out)
    assert said.code == 0, said.err
    return out, said.out


@pytest.fixture
def run(made, tmp_path):
    """A copy of the run that may be damaged."""
    shutil.copytree(made[0], tmp_path / "run")
    return tmp_path / "run"


def facts_of(*words):
    return json.loads(yxanul("data", *words, "--json")[0])


def test_overview(made):
    run, _ = made
    facts = facts_of("show", run)
    assert set(facts["sources"]) == {"stories", "math", "nasty"} and facts["missing"] == []
    for name, source in facts["sources"].items():
        for split in ("train", "validation"):
            shards = Shards.open(run / "data", name, split)
            figures = source["splits"][split]
            assert figures["documents"] == shards.num_documents
            assert (figures["tokens"], figures["bytes"]) == (shards.num_tokens, shards.num_bytes)
        assert sum(source["lengths"].values()) == sum(
            split["documents"] for split in source["splits"].values()
        )
        assert source["complete"] and source["dtype"] == "uint16" and source["vocab_size"] == 257
        assert source["tokenizer"] == Tokenizer.load(run / "tokenizer.json").digest
    assert facts["sources"]["math"]["dropped"] == {"too_short": counted(made)}
    nasty = facts["sources"]["nasty"]["splits"]["train"]
    assert nasty["chars_per_token"] < 1, "signs beyond ASCII have several bytes"
    assert facts["sources"]["nasty"]["first"]["train"][0]["text"].startswith(NASTY)


def counted(made):
    manifest = json.loads((made[0] / "data" / "math" / "manifest.json").read_text())
    assert manifest["dropped"]["too_short"] > 5
    return manifest["dropped"]["too_short"]


def test_overview_for_people(made):
    run, _ = made
    out, _ = yxanul("data", "show", run)
    table, causes, lengths, *blocks = re.split(r"\n\n", out.strip())
    rows = {line.split()[0]: line for line in table.splitlines()}
    assert list(rows) == ["source", "stories", "math", "nasty", "total"]
    assert "(synthetic)" in rows["stories"] and "(synthetic)" not in rows["nasty"]
    assert f"math  {counted(made)} too_short (" in causes
    assert "█" in lengths
    assert [block.split(":")[0] for block in blocks] == ["stories", "math", "nasty"]
    assert "257 ids in uint16, end of text 256; tokenizer" in blocks[0]
    assert "validation:" in blocks[0]
    only, _ = yxanul("data", "show", run, "--source", "math", "--split", "train")
    assert "\nmath: " in only and "of validation:" not in only and "stories" not in only


def test_a_terminal_is_never_disturbed(made):
    run, _ = made
    for words in (
        ("--source", "nasty"),
        ("--source", "nasty", "--document", 0),
        ("--source", "nasty", "--position", 0, "--seq-len", 300, "--rows", 2),
    ):
        out, _ = yxanul("data", "show", run, *words, "--full")
        unsafe = [sign for sign in out if not sign.isprintable() and sign not in "\n\t"]
        assert not unsafe
        assert "\\x1b[31m alarm\\x07" in out and "\\u202e" in out and "Ω 子 🦊" in out


def test_safe_text():
    assert escape("a\nb\tc\rd") == "a\\nb\\tc\\rd"
    assert escape("a\nb\x7f", keep="\n") == "a\nb\\x7f"
    assert escape("\u2029\u2066") == "\\u2029\\u2066"
    assert escape("می\u200cخواهم 👩\u200d🚀") == "می\u200cخواهم 👩\u200d🚀"


def test_a_whole_document(made):
    run, _ = made
    shards = Shards.open(run / "data", "stories", "validation")
    wanted = shards.document(2)
    text = bytes(wanted[:-1].tolist()).decode()
    words = ("show", run, "--source", "stories", "--split", "validation", "--document", 2)
    facts = facts_of(*words)
    assert (facts["text"], facts["ends"], "ids" in facts) == (text, True, False)
    assert facts_of(*words, "--ids")["ids"] == wanted.tolist()
    out, _ = yxanul("data", *words)
    head, _, body = out.partition("\n")
    assert f"{len(wanted)} tokens, {len(text.encode())} bytes" in head
    assert body == f"{text}{END_MARK}\n"
    assert " ".join(map(str, wanted)) in yxanul("data", *words, "--ids")[0]


def test_rows_at_a_position_show_where_documents_end(made):
    run, _ = made
    words = ("show", run, "--source", "math", "--position", 1000, "--seq-len", 400, "--rows", 3)
    facts = facts_of(*words)
    assert (facts["seed"], facts["shuffle_tokens"]) == (7, 1 << 25)
    rows = facts["rows"]
    assert [row["position"] for row in rows] == [1000, 1400, 1800]
    for row, following in pairwise(rows):
        first = following["documents"][0]
        text = first["text"] or END_MARK
        assert text.startswith(row["target"]["text"]) or row["target"]["ends"]
        assert first["begins"] == row["documents"][-1]["ends"]
    out, _ = yxanul("data", *words, "--full")
    inner = sum(len(row["documents"]) - 1 for row in rows)
    assert inner > 3 and out.count("\n  ├─\n") == inner
    assert "a new document begins" in out
    ends = sum(document["ends"] for row in rows for document in row["documents"])
    assert out.count(END_MARK) == ends + sum(row["target"]["ends"] for row in rows)


def test_the_run_is_found_around_its_data(made):
    """Seed, shuffling and tokenizer are those of the run, from whichever folder one looks."""
    run, _ = made
    place = ("--source", "math", "--position", 90, "--seq-len", 30)
    rows = [
        facts_of("show", shards, *place)["rows"]
        for shards in (run, run / "data", run / "data" / "math")
    ]
    assert rows[0] == rows[1] == rows[2]


def test_long_rows_are_cut_unless_all_is_asked_for(made):
    run, _ = made
    words = ("data", "show", run, "--source", "math", "--position", 0, "--seq-len", 4000)
    cut, full = yxanul(*words)[0], yxanul(*words, "--full")[0]
    assert len(cut) < 2500 < 4000 < len(full)
    assert "documents not shown (--full)" in cut and "not shown" not in full


def test_a_step_for_people(made):
    run, _ = made
    out, _ = yxanul("data", "show", run, "--step", 16)
    assert out.startswith("step 16: stage 'two', step 2 of 10, phase 0\n")
    assert "4 rows of 64 tokens" in out and "mix: math 0.75, stories 0.25" in out
    assert len(re.findall(r"^row \d: (math|stories) at", out, re.MULTILINE)) == 4
    few, _ = yxanul("data", "show", run, "--step", 16, "--rows", 1)
    assert "1 of 4 rows are shown" in few


def test_without_a_tokenizer_there_are_ids(run):
    data = run.rename(run.parent / "moved") / "data"
    bare = data.rename(run.parent / "bare")
    words = ("show", bare, "--source", "math", "--document", 0)
    facts = facts_of(*words)
    assert facts["text"] is None and facts["ids"][-1] == 256
    out, _ = yxanul("data", "show", bare)
    assert "--tokenizer NAME|FILE" in out and "ids: " in out
    assert facts_of(*words, "--tokenizer", "byte")["text"].startswith("Question")
    verified, _ = yxanul("data", "verify", bare)
    assert "no tokenizer" in verified
    (bare / "tokenizer.json").write_bytes((run.parent / "moved" / "tokenizer.json").read_bytes())
    assert facts_of(*words)["text"].startswith("Question")


def test_dropped_samples(made):
    run, _ = made
    facts = facts_of("show", run, "--dropped")
    assert facts["counts"]["math"] == {"too_short": counted(made)}
    assert facts["dropped"]["stories"] == []
    assert all(len(one["text"]) < 160 for one in facts["dropped"]["math"])
    out, _ = yxanul("data", "show", run, "--source", "math", "--dropped")
    assert out.startswith(f"math: dropped {counted(made)} too_short\n")
    assert out.count("\n  too_short  math#") == len(facts["dropped"]["math"]) > 0
    none, _ = yxanul("data", "show", "--dropped", run, "--source", "stories")
    assert none == "stories: dropped nothing\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--source", "mth"], "did you mean 'math'"),
        (["--source", "math", "--document", 5000], "expected 0 to"),
        (["--source", "math", "--document", -1], "expected 0 to"),
        (["--document", 0], "--source stories or math or nasty"),
        (["--position", 0], "--source stories or math or nasty"),
        (["--source", "math", "--position", -5], "expected 0 to"),
        (["--source", "math", "--position", 2**60], "expected 0 to"),
        (["--source", "math", "--position", 0, "--seq-len", 0], "expected at least 1"),
        (["--source", "math", "--position", 0, "--split", "validation"], "training stream"),
        (["--step", 0], "expected 1 to 24"),
        (["--step", 25], "expected 1 to 24"),
        (["--rows", 2], "--rows needs --position or --step"),
        (["--document", 0, "--step", 1], "cannot be combined"),
        (["--split", "valid"], "did you mean 'validation'"),
        (["--dropped", "--document", 0], "cannot be combined"),
        (["--tokenizer", "gpt3"], "'gpt2'?"),
        (["--tokenizer", "no/such/tokenizer.json"], "no/such/tokenizer.json"),
    ],
)
def test_mistakes_are_one_line(made, words, said):
    out, err = yxanul("data", "show", made[0], *words, code=2)
    assert said in err and err.count("\n") == 1 and out == ""


@pytest.mark.parametrize("verb", ["show", "verify"])
def test_folders_that_hold_no_shards(made, tmp_path, verb):
    for folder in (tmp_path, tmp_path / "nowhere", made[0] / "tokenizer.json"):
        out, err = yxanul("data", verb, folder, code=2)
        assert str(folder) in err and err.count("\n") == 1 and out == ""


def test_a_run_that_is_not_prepared(run):
    shutil.rmtree(run / "data")
    _, err = yxanul("data", "show", run, code=2)
    assert "no shards" in err and "yxanul prepare" in err


def test_steps_are_those_of_a_run(run):
    bare = (run / "data").rename(run.parent / "bare")
    _, err = yxanul("data", "show", bare, "--step", 1, code=2)
    assert "--step needs" in err


def test_the_wrong_tokenizer(run, tmp_path):
    tokenizer = json.loads((run / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    vocab["A"], vocab["B"] = vocab["B"], vocab["A"]
    other = tmp_path / "other.json"
    other.write_text(json.dumps(tokenizer))
    _, err = yxanul("data", "show", run, "--tokenizer", other, code=2)
    assert "different tokenizer" in err and err.count("\n") == 1
    (run / "tokenizer.json").write_bytes(other.read_bytes())
    _, err = yxanul("data", "show", run, code=2)
    assert "different tokenizer" in err and str(run / "tokenizer.json") in err
    out, err = yxanul("data", "verify", run, code=2)
    assert out.count("different tokenizer") == 3


def test_a_source_that_is_not_finished(run):
    math = run / "data" / "math"
    for name in ("manifest.json", "parts/00000.json"):
        (math / name).unlink()
    shutil.rmtree(run / "data" / "nasty")
    out, _ = yxanul("data", "show", run)
    assert "math: incomplete: 0 of 1 slice" in out
    assert "nasty: not encoded" in out
    out, err = yxanul("data", "verify", run, code=2)
    assert "math: 1 fault" in out and "it is incomplete: 0 of 1 shards" in out
    assert "nasty: 1 fault" in out and "not encoded" in out
    assert "stories: OK" in out and "2 faults in math, nasty" in err
    _, err = yxanul("data", "show", run, "--source", "math", "--document", 0, code=2)
    assert "empty" in err
    _, err = yxanul("data", "show", run, "--source", "math", "--position", 0, code=2)
    assert "not fully encoded" in err and err.count("\n") == 1


def test_verify(made):
    run, _ = made
    out, err = yxanul("data", "verify", run)
    assert [line.split(",")[0] for line in out.splitlines()] == [
        "stories: OK",
        "math: OK",
        "nasty: OK",
    ]
    assert "verify stories" in err
    facts = facts_of("verify", run)
    assert facts["ok"] and facts["sources"]["math"]["with_tokenizer"]
    assert facts["sources"]["math"]["files"] == 6
    assert facts_of("verify", run / "data" / "math")["sources"].keys() == {"math"}


def test_verify_names_every_fault(run):
    for name in ("stories/train/00000.ids", "math/train/00000.bytes", "math/held-out.txt"):
        flip_a_bit(run / "data" / name)
    out, err = yxanul("data", "verify", run, code=2)
    assert f"  {run}/data/stories/train/00000.ids: its checksum is wrong\n" in out
    assert "math: 2 faults" in out and "nasty: OK" in out
    assert err.splitlines()[-1].startswith(f"yxanul: {run} is damaged; got 3 faults in ")
    facts = json.loads(yxanul("data", "verify", run, "--json", code=2)[0])
    assert not facts["ok"] and facts["sources"]["nasty"]["ok"]
    assert len(facts["sources"]["math"]["faults"]) == 2


def test_shards_at_an_address(recipe, made, tmp_path):
    """They are copied here, and looked at like others."""
    pytest.importorskip("fsspec")
    address = f"data.folder=file://{tmp_path}/corpus"
    yxanul("prepare", recipe, address, "--out", tmp_path / "far")
    far, near = (
        facts_of("show", run, "--source", "math", "--position", 7, "--seq-len", 50)
        for run in (tmp_path / "far", made[0])
    )
    assert far["rows"] == near["rows"]
    out, _ = yxanul("data", "verify", tmp_path / "far")
    assert out.count(": OK") == 3 and "local copies" in out


def test_verify_compares_with_the_recipe(run):
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(
        text.replace("validation_fraction: 0.1", "validation_fraction: 0.2")
    )
    out, _ = yxanul("data", "verify", run, code=2)
    assert out.count("made from other text") == 3


def test_the_report_of_prepare(made):
    run, out = made
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == "source" and lines[0].rstrip().endswith("dropped")
    rows = {line.split()[0]: line for line in lines[1:5]}
    assert set(rows) == {"stories", "math", "nasty", "total"}
    assert "(synthetic)" in rows["math"] and "(synthetic)" not in rows["nasty"]
    dropped = counted(made)
    assert rows["math"].endswith(f"{dropped} ({100 * dropped / 120:.1f}%)")
    assert f"  math  {dropped} too_short ({100 * dropped / 120:.1f}%)" in out
    assert f"{run}/data/SOURCE/dropped.jsonl" in out
    assert f"yxanul data show {run} --dropped" in out
    picture = out[out.index("documents by tokens:") :]
    assert "512" in picture and "█" in picture


def sources(count):
    """The figures of so many sources."""
    figures = {"tokens": 512_345_678, "bytes": 2_512_345_678, "chars_per_token": 4.321}
    return {
        f"source-{place}": {
            "splits": {
                "train": {"documents": 999_000 * (place + 1), **figures},
                "validation": {"documents": 1_000 * (place + 1), **figures},
            },
            "dropped": {"too_short": 12, "empty": 5000},
            "synthetic": False,
            "chars_per_token": 4.321,
            "lengths": {"64": 1, "128": 50, "256": 0, "512": 9},
        }
        for place in range(count)
    }


@pytest.mark.parametrize("count", [1, 2, 10])
def test_the_report_is_pleasant_for_any_number_of_sources(count):
    lines = report(sources(count), "samples of them: here")
    figures = lines[: lines.index("")]
    assert len(figures) == 1 + count + (count > 1)
    assert len({len(line) for line in figures}) == 1, "columns stand under each other"
    assert len(figures[0]) <= 110
    assert len(lines) <= 12 + 3 * count + (4 if count == 1 else 0)
    assert figures[-1].startswith("total") == (count > 1)
    documents = 1_000_000 * count * (count + 1) // 2
    assert f" {documents:,} " in figures[-1]
    assert any("5,000 empty (0.5%), 12 too_short (<0.1%)" in line for line in lines)
    assert "samples of them: here" in lines


def test_nothing_left_out_takes_no_lines():
    (source,) = sources(1).values()
    assert "samples" not in report({"one": source | {"dropped": {}}}, "samples")


def test_pictures_of_lengths():
    assert length_columns({"a": {"1024": 4, "2048": 1}, "long": {"512": 7}}) == [
        "      512   1k   2k",
        "a          ███  ▂▂▂",
        "long  ███",
    ]
    assert length_columns({}) == length_columns({"a": {}}) == []


def test_shares():
    assert [percent(*pair) for pair in ((0, 9), (1, 10_000), (1, 3), (5, 5), (0, 0))] == [
        "0.0%", "<0.1%", "33.3%", "100.0%", "0.0%",
    ]  # fmt: skip
    assert elide("abcdefghi" * 10, 9) == "abcdef … 81 characters … ghi"
