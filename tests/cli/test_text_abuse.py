"""Bad text and bad luck: one clear line, or a count; never a wrong token."""

import gzip
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from running import call, flip_a_bit, wait_until
from yxanul.data.shards import Shards
from yxanul.tokenizer.tokenizer import Tokenizer

TALES = [f"Tale {n}: " + "the little fox ran over the hill and was happy. " * 8 for n in range(60)]
RECIPE = """
tokenizer: {kind: byte}
data:
  sources: {mine: SOURCE}
  validation_fraction: 0.2
  workers: 1
model: {width: 32, depth: 1, num_heads: 2, ffn_width: 32, max_seq_len: 64}
optim: {name: adamw, peak_lr: 1e-3, schedule: {name: linear_to_zero}}
train: {precision: fp32, batch_tokens: 128}
stages:
  - {name: one, mix: {mine: 1}, budget: {steps: 3}, curriculum: [{seq_len: 32}]}
"""


def recipe(folder: Path, **source) -> Path:
    path = folder / "abuse.yaml"
    path.write_text(RECIPE.replace("SOURCE", json.dumps(source)))
    return path


def prepare(folder: Path, *more, **source):
    return call("prepare", recipe(folder, **source), "--out", folder / "run", "--json", *more)


def texts_in(run: Path) -> list[str]:
    tokenizer = Tokenizer.load(run / "tokenizer.json")
    texts = []
    for split in ("train", "validation"):
        shards = Shards.open(run / "data", "mine", split, tokenizer.digest)
        ids = [shards.document(n).tolist()[:-1] for n in range(shards.num_documents)]
        texts += [tokenizer.decode(row) for row in ids]
    return texts


def write_jsonl(path: Path, texts=TALES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def one_line(said, *words: str) -> None:
    assert said.code == 2, said.err
    assert all(word in said.error for word in words), said.error
    if said.out:  # with --json
        assert json.loads(said.out)["exit_code"] == 2


def test_a_folder_without_text(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "image.png").write_bytes(b"\x89PNG")
    result = prepare(tmp_path, kind="text", path=str(tmp_path / "texts"))
    one_line(result, "image.png")


def test_cut_files_are_counted_and_what_is_whole_is_kept(tmp_path):
    packed = gzip.compress(write_jsonl(tmp_path / "whole.jsonl").read_bytes(), mtime=0)
    texts = tmp_path / "texts"
    write_jsonl(texts / "a.jsonl", TALES[:30])
    (texts / "b.jsonl.gz").write_bytes(packed[:-200])
    one_line(prepare(tmp_path, kind="jsonl", path=str(texts)), "b.jsonl.gz is truncated")
    result = prepare(tmp_path, kind="jsonl", path=str(texts), on_bad_file="drop")
    facts = json.loads(result.out)
    assert facts["dropped"]["mine"] == {"truncated": 1}
    kept = texts_in(tmp_path / "run")
    assert set(TALES[:30]) <= set(kept) <= set(TALES)


def test_odd_signs_survive_and_halves_of_pairs_are_counted(tmp_path):
    odd = [
        *TALES,
        "zero \0 zero",
        "e\u0301 \u200d \ufeff 🙂",
        "tab\tvt\x0b",
        "<|endoftext|> in words",
    ]
    path = write_jsonl(tmp_path / "odd.jsonl", odd)
    with open(path, "a") as file:
        file.write('{"text": "half of a pair: \\ud83d"}\n')
    result = prepare(tmp_path, kind="jsonl", path=str(path))
    assert json.loads(result.out)["dropped"]["mine"] == {"broken_utf8": 1}
    assert sorted(texts_in(tmp_path / "run")) == sorted(odd)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "jsonl"])
def test_a_line_of_200_million_bytes(tmp_path, kind):
    path = tmp_path / f"long.{'txt' if kind == 'text' else 'jsonl'}"
    words = " ".join(f"word{n}" for n in range(1000))
    with open(path, "w") as file:
        file.write('{"text": "' if kind == "jsonl" else "")
        for _ in range(200_000_000 // len(words)):
            file.write(words + " ")
        file.write('"}\n' if kind == "jsonl" else "\n")
    if kind == "jsonl":
        with open(path, "a") as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in TALES)
    result = prepare(tmp_path, kind=kind, path=str(path))
    facts = json.loads(result.out)
    if kind == "jsonl":
        assert facts["dropped"]["mine"] == {"too_long": 1}
        assert facts["documents"]["mine"] == len(TALES)
    else:
        assert facts["bytes"]["mine"] > 199_000_000


def test_two_calls_at_once_the_second_is_told(tmp_path):
    path = recipe(tmp_path, kind="jsonl", path=str(write_jsonl(tmp_path / "texts.jsonl")))
    command = [sys.executable, "-m", "yxanul", "prepare", path, "--out", tmp_path / "run"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        lock = tmp_path / "run" / ".lock"
        wait_until(lambda: lock.exists() and lock.read_text())
        first.send_signal(signal.SIGSTOP)
        second = call("prepare", path, "--out", tmp_path / "run", "--json")
        first.send_signal(signal.SIGCONT)
        one_line(second, f"process {first.pid}")
        first.communicate(timeout=240)
        assert first.returncode == 0


@pytest.fixture
def prepared(tmp_path):
    path = write_jsonl(tmp_path / "texts.jsonl")
    assert prepare(tmp_path, kind="jsonl", path=str(path)).code == 0
    return tmp_path


def test_a_flipped_bit_is_never_trained_on(prepared):
    ids = prepared / "run/data/mine/train/00000.ids"
    flip_a_bit(ids)
    run = prepared / "run"
    one_line(call("train", prepared / "abuse.yaml", "--out", run), str(ids), "wrong checksum")
    verified = call("data", "verify", run)
    assert verified.code == 2 and "checksum" in verified.out + verified.err
    ids.unlink()  # what the message says
    assert call("run", prepared / "abuse.yaml", "--out", run).code == 0


def test_another_tokenizer_under_shards_that_are_there(prepared):
    run = prepared / "run"
    tokenizer = json.loads((run / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
    (run / "tokenizer.json").write_text(json.dumps(tokenizer))
    one_line(call("train", prepared / "abuse.yaml", "--out", run), "another tokenizer", "prepare")
    again = call("prepare", prepared / "abuse.yaml", "--out", run)
    assert again.code == 0 and "tokenizer changed" in again.err
    assert sorted(texts_in(run)) == sorted(TALES)


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of one megabyte."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_nothing_is_half_written(tmp_path, tiny_disk):
    for number in range(4):
        texts = [f"{tale} {number} {n}" for n in range(10) for tale in TALES]
        write_jsonl(tmp_path / "texts" / f"{number}.jsonl", texts)
    path = recipe(tmp_path, kind="jsonl", path=str(tmp_path / "texts"))
    run = tiny_disk / "run"
    one_line(call("prepare", path, "data.workers=2", "--out", run), "No space left on device")
    assert not list(run.rglob("*.partial"))
    done = {file: file.read_bytes() for file in run.rglob("*.ids")}
    subprocess.run(["mount", "-o", "remount,size=64m", str(tiny_disk)], check=True)
    assert call("prepare", path, "--out", run).code == 0
    assert all(file.read_bytes() == content for file, content in done.items() if file.exists())
    assert len(texts_in(run)) == 4 * 600
