"""Millions of documents, and giant groups of equal ones: bounded memory and time."""

import subprocess
import sys

import numpy as np
import pytest

from yxanul.text.dedup import fingerprints
from yxanul.text.dedup.config import DeduplicateSettings, NearSettings
from yxanul.text.dedup.copies import read_copies, write_copies

SMALL = DeduplicateSettings(near=NearSettings(permutations=16, threshold=0.8))
PARTS = 3
DECIDE = """
import re, sys
from pathlib import Path
from yxanul.text.dedup.config import DeduplicateSettings, NearSettings
from yxanul.text.dedup.copies import write_copies

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

folder = Path(sys.argv[1])
settings = DeduplicateSettings.model_validate_json(sys.argv[2])
files = sorted(folder.glob("*.bin"))
import numpy, rensa
before = peak()
counts = write_copies(files, [file.with_suffix(".npy") for file in files], settings, folder / "s")
print(peak() - before, counts.documents, counts.duplicates, counts.near_duplicates)
"""


def write_made_up(path, settings, rows):
    """Write rows as a file of fingerprints, without texts."""
    path.write_bytes(rows.tobytes())


def made_up(count, settings, seed):
    """Return fingerprints without copies."""
    draws = np.random.default_rng(seed)
    kind = fingerprints.row_type(settings)
    rows = np.frombuffer(draws.bytes(count * kind.itemsize), kind).copy()
    rows["ngrams"] = 100
    return rows


def decide(folder, settings):
    """Decide in a process of its own; return the growth of its memory in MiB and the counts."""
    command = [sys.executable, "-c", DECIDE, str(folder), settings.model_dump_json()]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    growth, *counts = done.stdout.split()
    return float(growth), [int(count) for count in counts]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    "millions", [pytest.param(0.1, id="some"), pytest.param(3, id="many", marks=pytest.mark.slow)]
)
def test_memory_does_not_grow_with_documents_but_for_6_bytes_each(tmp_path, millions):
    count = round(millions * 1_000_000)
    for part in range(PARTS):
        rows = made_up(count, SMALL, part)
        rows["text"][1000:2000] = rows["text"][:1000]
        rows["signature"][3000:6000] = rows["signature"][6000:9000]
        rows["signature"][3000:6000, :2] += 1
        write_made_up(tmp_path / f"{part}.bin", SMALL, rows)
    growth, counts = decide(tmp_path, SMALL)
    assert counts[:2] == [PARTS * count, PARTS * 1000]
    assert PARTS * 2900 < counts[2] <= PARTS * 3000
    assert growth < 300


@pytest.mark.slow
@pytest.mark.timeout(300)  # compared each with each, they would take hours
@pytest.mark.parametrize("what", ["equal", "near", "a band"])
def test_100_000_alike_take_seconds(tmp_path, what):
    settings = DeduplicateSettings(exact=what == "equal", near=NearSettings())
    count = 100_000
    rows = made_up(count, settings, 1)
    if what == "equal":
        rows[:] = rows[0]
    elif what == "near":
        rows["signature"][:, 8:] = rows["signature"][0, 8:]
    else:
        rows["signature"][:, :8] = rows["signature"][0, :8]
    write_made_up(tmp_path / "0.bin", settings, rows)
    counts = write_copies([tmp_path / "0.bin"], [tmp_path / "0.npy"], settings, tmp_path / "s")
    wanted = {"equal": (count - 1, 0), "near": (0, count - 1), "a band": (0, 0)}
    assert (counts.duplicates, counts.near_duplicates) == wanted[what]
    assert read_copies(tmp_path / "0.npy")[0] is None
