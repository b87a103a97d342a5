"""The benchmark of the data engine, run on little text, and what it rests on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import data
from harness.process import ContenderFailed, run_function, tree_bytes
from harness.texts import gather, read_texts, write_corpus

BENCHMARK = Path(data.__file__)
NOWHERE = Path("/nowhere")


@pytest.mark.slow
def test_the_text_is_as_much_as_asked_and_unique(tmp_path):
    made = write_corpus(tmp_path / "corpus", 5_000_000, 4, NOWHERE, seed=0)
    texts = list(read_texts(tmp_path / "corpus"))
    assert len(texts) == len(set(texts)) == made["documents"]
    assert made["text_bytes"] == sum(len(text.encode()) for text in texts) >= 5_000_000
    assert made["paragraphs_shuffled_again_bytes"] == 0
    sizes = [path.stat().st_size for path in sorted((tmp_path / "corpus").iterdir())]
    assert len(sizes) == 4 and max(sizes) < 2 * min(sizes)


def test_text_that_is_not_enough_comes_again_and_is_told_of(tmp_path, monkeypatch):
    few = [("packages", f"Part one {n}.\n\nPart two.\n\nPart three.") for n in range(50)]
    monkeypatch.setattr("harness.texts._all_texts", lambda _: iter(few * 2))
    documents, origins = gather(10_000, NOWHERE)
    assert len(documents) == 50 and origins == {"packages": sum(map(len, documents))}
    made = write_corpus(tmp_path / "corpus", 10_000, 2, NOWHERE, seed=0)
    again = made["paragraphs_shuffled_again_bytes"]
    assert again == made["text_bytes"] - origins["packages"] > 0
    assert len(set(read_texts(tmp_path / "corpus"))) > 100  # most in another order


def test_memory_is_that_of_the_whole_tree():
    command = "import subprocess, sys; x = b'x' * (200 << 20); print(len(sys.argv), flush=True); "
    leaf = subprocess.list2cmdline([sys.executable, "-c", command + "input()"])
    process = subprocess.Popen(
        ["sh", "-c", f"{leaf}; true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    process.stdout.readline()
    assert 200 << 20 < tree_bytes(process.pid) < 400 << 20
    process.communicate("\n")
    assert tree_bytes(process.pid) == 0


def test_a_function_that_fails_says_why():
    with pytest.raises(ContenderFailed, match="is missing"):
        run_function("peers.ours_data:warm_up", {"gpt2": "/nowhere"})


def run_benchmark(tmp_path, shared_data, *contenders):
    command = [sys.executable, BENCHMARK, "--megabytes", 1, "--files", 3, "--shards", 40]
    command += ["--rounds", 1, "--shared", shared_data, "--out", tmp_path / "results"]
    command += ["--contenders", "yxanul", *contenders]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "results").glob("*-data-cpu.json")
    return json.loads(path.read_text())


@pytest.mark.slow
def test_smoke(tmp_path, shared_data):
    found = run_benchmark(tmp_path, shared_data)
    assert found["agreement"]["complete"] and found["agreement"]["differing"] == {}
    assert found["opening"][0]["shards"] == 40
    assert found["reading"]["256"][0]["tokens"] > 200_000
    assert found["figures"]["tokens/s at rows of 256"]["wanted"] == "at least 2e+07"
    assert 50e6 < found["figures"]["peak bytes of preparing"]["found"] < 1.5e9


@pytest.mark.slow
def test_peers_give_our_ids(tmp_path, shared_data):
    pytest.importorskip("datasets", reason="needs the extra 'bench'")
    pytest.importorskip("tiktoken", reason="needs the extra 'bench'")
    names = ("datasets-tokenizers", "datasets-tiktoken")
    found = run_benchmark(tmp_path, shared_data, *names)
    assert found["agreement"]["differing"] == dict.fromkeys(names, 0)
    assert set(found["ratios"]["yxanul"]) == set(names)
