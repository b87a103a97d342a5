"""Small corpora and shards for the tests of data."""

import json
from pathlib import Path

import numpy as np
import pytest

from yxanul.base.ui import SilentUi
from yxanul.data.manifest import SPLITS, Header, Manifest, ShardEntry, SplitEntry, shard_files
from yxanul.data.shards import Shards
from yxanul.data.verify import verify_sources
from yxanul.tokenizer.build import build_tokenizer
from yxanul.tokenizer.config import ByteSettings

WORDS = ("the", "a", "little", "red", "fox", "bird", "ran", "over", "hill", "and", "then", "happy")


def story(number: int) -> str:
    """A document that no other number gives, of 20 to 300 words, some beyond ASCII."""
    random = np.random.default_rng(number)
    words = random.choice(WORDS, size=int(random.integers(20, 300)))
    return f"Nº {number}: {' '.join(words)}."


@pytest.fixture(scope="session")
def byte_tokenizer():
    return build_tokenizer(ByteSettings(), lambda: [], SilentUi())


@pytest.fixture(scope="session")
def write_stories():
    """A function that writes numbered stories into some .jsonl files of a folder."""

    def write(folder: Path, files: int, documents: int) -> Path:
        folder.mkdir(exist_ok=True)
        for file in range(files):
            numbers = range(file * documents, (file + 1) * documents)
            lines = [json.dumps({"text": story(number)}) for number in numbers]
            (folder / f"{file:02d}.jsonl").write_text("\n".join(lines) + "\n")
        return folder

    return write


@pytest.fixture
def jsonl_folder(tmp_path, write_stories):
    """A function that writes so many files of so many stories and returns their folder."""
    return lambda files, documents: write_stories(tmp_path / "texts", files, documents)


@pytest.fixture
def make_shards(tmp_path):
    """A function that writes documents, given as lists of ids by shard, and opens them."""

    def make(shards, *, source="made", end=0, vocab_size=1000) -> Shards:
        folder = tmp_path / source
        entries = []
        for number, documents in enumerate(shards):
            ids = np.array([i for document in documents for i in document], dtype="<u2")
            ends = np.cumsum([0, *map(len, documents)]).astype("<u8")
            sizes = np.array([2 * len(document) for document in documents], dtype="<u8")
            files = shard_files(folder / "train", number)
            files[".ids"].parent.mkdir(parents=True, exist_ok=True)
            for suffix, content in ((".ids", ids), (".offsets", ends), (".bytes", sizes)):
                files[suffix].write_bytes(content.tobytes())
            figures = {"documents": len(documents), "tokens": len(ids), "bytes": int(sizes.sum())}
            entries.append(ShardEntry(**figures, chars=figures["bytes"], lengths=(), sha256={}))
        return Shards(folder, _manifest(source, entries, end, vocab_size), "train")

    return make


def _manifest(source, entries, end, vocab_size):
    header = Header(
        source=source,
        settings="",
        validation_fraction=0.5,
        tokenizer="",
        vocab_size=vocab_size,
        end_of_text_id=end,
        dtype="uint16",
    )
    counts = ("documents", "tokens", "bytes", "chars")
    sums = {name: sum(getattr(entry, name) for entry in entries) for name in counts}
    split = SplitEntry(**sums, lengths=(), shards=tuple(entries))
    return Manifest(header=header, synthetic=False, dropped={}, splits=dict.fromkeys(SPLITS, split))


@pytest.fixture(scope="session")
def assert_sound():
    """A function that reads all sources in a folder and finds no fault."""

    def check(folder: Path, tokenizer) -> None:
        folders = {path.parent.name: path.parent for path in folder.glob("*/manifest.json")}
        checks = verify_sources(folders, lambda header: tokenizer, SilentUi())
        assert checks and not [fault for one in checks.values() for fault in one.faults]

    return check
