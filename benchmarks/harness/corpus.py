"""Text for the benchmark of the data engine: what lies on every machine, each document once.

The shared texts where there are any, then the sources and documentation of the standard library and
of the installed packages. Where that is not enough, documents come again with their paragraphs in
another order; how much of the text that is, is part of the result.
"""

from __future__ import annotations

import hashlib
import json
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUFFIXES = (".py", ".pyi", ".md", ".rst", ".txt")
_LARGEST_BYTES = 2_000_000


def write_corpus(
    folder: Path, num_bytes: int, num_files: int, shared: Path, seed: int
) -> dict[str, Any]:
    """Write `num_bytes` of text as JSON lines into files of one size; return its make-up."""
    documents, origins = gather(num_bytes, shared)
    unique = sum(origins.values())
    rng = random.Random(seed)
    documents += _shuffled_again(documents, num_bytes - unique, rng)
    rng.shuffle(documents)
    sizes = [len(text.encode()) for text in documents]
    folder.mkdir(parents=True)
    place, written = 0, 0
    for number in range(num_files):
        with open(folder / f"{number:04d}.jsonl", "w", encoding="utf-8") as file:
            until = sum(sizes) * (number + 1) / num_files
            while place < len(documents) and (written < until or number == num_files - 1):
                line = json.dumps({"text": documents[place]}, ensure_ascii=False)
                file.write(line + "\n")
                written += sizes[place]
                place += 1
    return {
        "files": num_files,
        "documents": len(documents),
        "text_bytes": written,
        "unique_bytes_by_origin": origins,
        "paragraphs_shuffled_again_bytes": written - unique,
    }


def gather(num_bytes: int, shared: Path) -> tuple[list[str], dict[str, int]]:
    """Return unique documents until there are `num_bytes`, and the bytes from each origin."""
    origins: dict[str, int] = {}
    documents: dict[bytes, str] = {}
    total = 0
    for origin, text in _all_texts(shared):
        key = hashlib.blake2b(text.encode(), digest_size=16).digest()
        if text.strip() and key not in documents:
            documents[key] = text
            origins[origin] = origins.get(origin, 0) + len(text.encode())
            total += len(text.encode())
            if total >= num_bytes:
                break
    return list(documents.values()), origins


def read_texts(folder: Path) -> Iterator[str]:
    """Yield the texts of a corpus in the order of its files."""
    for file in sorted(folder.glob("*.jsonl")):
        with open(file, encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)["text"]


def _all_texts(shared: Path) -> Iterator[tuple[str, str]]:
    if shared.is_dir():
        for text in (shared / "stories" / "tinystories.txt").read_text().split("<|endoftext|>"):
            yield "stories", text.strip()
        for text in (shared / "wiki" / "articles_30.txt").read_text().splitlines():
            yield "wiki", text
        for row in _rows(shared / "web" / "c4_200.jsonl"):
            yield "web", row["text"]
        for name in ("gsm8k_train", "gsm8k_test"):
            for row in _rows(shared / "math" / f"{name}.jsonl"):
                yield "math", f"Question: {row['question']}\nAnswer: {row['answer']}"
    library = Path(sysconfig.get_path("stdlib"))
    packages = Path(sysconfig.get_path("purelib"))
    for origin, folder in (("standard library", library), ("packages", packages)):
        for path in sorted(folder.rglob("*")):
            if origin == "standard library" and "site-packages" in path.parts:
                continue
            if path.suffix in SUFFIXES and path.is_file():
                yield from _text_of(origin, path)


def _text_of(origin: str, path: Path) -> Iterator[tuple[str, str]]:
    if path.stat().st_size <= _LARGEST_BYTES:
        try:
            yield origin, path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        yield json.loads(line)


def _shuffled_again(documents: list[str], num_bytes: int, rng: random.Random) -> list[str]:
    """Return documents again, until `num_bytes`, with their paragraphs in another order."""
    again: list[str] = []
    while num_bytes > 0 and documents:
        for text in documents:
            paragraphs = text.split("\n\n")
            rng.shuffle(paragraphs)
            again.append("\n\n".join(paragraphs))
            num_bytes -= len(again[-1].encode())
            if num_bytes <= 0:
                break
    return again
