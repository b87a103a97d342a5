"""A hub with some datasets, and processes that read them."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from text.hub.hub_server import Hub, serve


def stories(count: int, start: int = 0) -> bytes:
    """Return a JSON file of so many numbered stories."""
    rows = ({"n": n, "text": f"story {n}"} for n in range(start, start + count))
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def tables(count: int, start: int = 0) -> bytes:
    """Return a parquet file of so many numbered stories, a hundred a row group."""
    numbers = range(start, start + count)
    sink = io.BytesIO()
    columns = {"n": list(numbers), "text": [f"story {n}" for n in numbers]}
    pq.write_table(pa.table(columns), sink, row_group_size=100)
    return sink.getvalue()


def configurations(**files: str) -> bytes:
    """Return a README that gives each configuration its files."""
    lines = [f"- config_name: {name}\n  data_files: {glob}\n" for name, glob in files.items()]
    return f"---\nconfigs:\n{''.join(lines)}---\n".encode()


@pytest.fixture(scope="session")
def hub() -> Iterator[Hub]:
    """A hub with some datasets; `hub.address` is where it is."""
    plain = {"README.md": b"---\nlicense: mit\n---\nTales.\n", "train.jsonl": stories(300)}
    numbered = {f"part-{k}.jsonl": stories(20, 20 * k) for k in range(12)}
    sets = {
        "ann/tales": plain,
        "ann/gated": plain,
        "ann/several": {
            "README.md": configurations(one="one.jsonl", two="two.jsonl"),
            "one.jsonl": stories(1),
            "two.jsonl": stories(2),
        },
        "ann/empty": {"README.md": b"Nothing."},
        "ann/script": {"README.md": b"Old.", "script.py": b"1"},
        "ann/broken": {"README.md": b"Broken.", "train.jsonl": b"{oops\n"},
        "ann/metadata": {"a-about.jsonl": b'{"source": "x", "license": "y"}\n' * 3, **numbered},
        "ann/packed": {"train.jsonl.gz": gzip.compress(stories(300))},
        "ann/lines": {"train.txt": b"One.\n<|endoftext|>\nTwo.\n<|endoftext|>\nThree.\n"},
        "ann/tables": {
            "README.md": configurations(big="big/*.parquet", small="small/*.parquet"),
            "big/0.parquet": tables(250),
            "big/1.parquet": tables(250, 250),
            "small/0.parquet": tables(3, 900),
        },
        "ann/commas": {"train.csv": b"n,text\n" + b"".join(b"%d,tale\n" % n for n in range(50))},
        "ann/long": {f"{k}.jsonl": stories(3000, 3000 * k) for k in range(3)},
    }
    made = Hub()
    for name, files in sets.items():
        made.put(name, files)
    made.gated["ann/gated"] = 401
    with serve(made) as made.address:
        yield made


@contextmanager
def reader(folder: Path, **environment: str):
    """Give a function that opens sources in one process with its own cache."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    own = {"HF_HOME": str(folder), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "10"}
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(Path(__file__).with_name("hub_reader.py"))],
        env={**inherited, **own, "HF_HUB_ETAG_TIMEOUT": "10", **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def ask(*settings: dict, workers: int = 0) -> list[dict]:
        process.stdin.write(json.dumps([settings, workers]) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        return json.loads(line)

    try:
        yield ask
    finally:
        process.communicate()


@pytest.fixture(scope="session")
def ask(hub, tmp_path_factory):
    """A function that opens sources of the hub, all in one process with one cache."""
    with reader(tmp_path_factory.mktemp("hub"), HF_ENDPOINT=hub.address) as function:
        yield function


@pytest.fixture
def ask_anew(hub, tmp_path):
    """A function that opens sources of the hub in a process with its own environment."""

    def run(*settings: dict, workers: int = 0, **environment: str) -> list[dict]:
        with reader(tmp_path, **{"HF_ENDPOINT": hub.address, **environment}) as function:
            return function(*settings, workers=workers)

    return run
