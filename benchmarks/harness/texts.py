"""Texts of the benchmarks: a corpus of any size from what lies on every machine, the datasets that
learning is measured on, and the recipe, tokenizer and shards made from either."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.process import environment, yxanul
from harness.shapes import Shape
from yxanul.base.run_folder import RunFolder

SUFFIXES = (".py", ".pyi", ".md", ".rst", ".txt")
_LARGEST_BYTES = 2_000_000
TITLE = re.compile(r"^ = [^=].* = $", re.MULTILINE)
"""Where an article of WikiText begins."""


def write_corpus(
    folder: Path, num_bytes: int, num_files: int, shared: Path, seed: int
) -> dict[str, Any]:
    """Write `num_bytes` of text as JSON lines into files of one size; return its make-up.

    The shared texts where there are any, then the sources and documentation of the standard library
    and of the installed packages. Where that is not enough, documents come again with their
    paragraphs in another order; how much of the text that is, is part of the result.
    """
    documents, origins = gather(num_bytes, shared)
    unique = sum(origins.values())
    rng = random.Random(seed)
    documents += _shuffled_again(documents, num_bytes - unique, rng)
    rng.shuffle(documents)
    sizes = [len(text.encode()) for text in documents]
    folder.mkdir(parents=True)
    place, written = 0, 0
    for number in range(num_files):
        until, lines = sum(sizes) * (number + 1) / num_files, []
        while place < len(documents) and (written < until or number == num_files - 1):
            lines.append({"text": documents[place]})
            written += sizes[place]
            place += 1
        write_jsonl(folder / f"{number:04d}.jsonl", lines)
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
    for origin, text in _all_texts(shared):
        key = hashlib.blake2b(text.encode(), digest_size=16).digest()
        if text.strip() and key not in documents:
            documents[key] = text
            origins[origin] = origins.get(origin, 0) + len(text.encode())
            if sum(origins.values()) >= num_bytes:
                break
    return list(documents.values()), origins


def read_texts(folder: Path) -> Iterator[str]:
    """Yield the texts of a corpus in the order of its files."""
    for file in sorted(folder.glob("*.jsonl")):
        yield from (row["text"] for row in read_jsonl(file))


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of JSON lines."""
    with open(path, encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _all_texts(shared: Path) -> Iterator[tuple[str, str]]:
    if shared.is_dir():
        for text in (shared / "stories" / "tinystories.txt").read_text().split("<|endoftext|>"):
            yield "stories", text.strip()
        for text in (shared / "wiki" / "articles_30.txt").read_text().splitlines():
            yield "wiki", text
        for row in read_jsonl(shared / "web" / "c4_200.jsonl"):
            yield "web", row["text"]
        for name in ("gsm8k_train", "gsm8k_test"):
            for row in read_jsonl(shared / "math" / f"{name}.jsonl"):
                yield "math", f"Question: {row['question']}\nAnswer: {row['answer']}"
    for origin, folder in (("standard library", "stdlib"), ("packages", "purelib")):
        for path in sorted(Path(sysconfig.get_path(folder)).rglob("*")):
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


Sources = dict[str, dict[str, Any]]
"""Sources of text as a recipe has them."""


@dataclass(frozen=True)
class Dataset:
    """A dataset of learning: its sources, how they are mixed, and how much of it is held out."""

    sources: Callable[[Path, Path], Sources]
    """(shared data, folder for files of its own) -> sources of a recipe."""
    mix: dict[str, float]
    held_out: float


def jsonl_source(path: Path) -> dict[str, Any]:
    """Return JSON lines as a source of a recipe."""
    return {"kind": "jsonl", "path": str(path), "text_column": "text"}


def stories(shared: Path, own: Path) -> Sources:
    """TinyStories."""
    return {"stories": {"kind": "text", "path": str(shared / "stories" / "tinystories.txt")}}


def written(path: Path, documents: Iterable[str]) -> dict[str, Any]:
    """Write documents as JSON lines, empty ones left out; return them as a source of a recipe."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, ({"text": one} for one in documents if one.strip()))
    return jsonl_source(path)


def wiki(shared: Path, own: Path) -> Sources:
    """Articles of Wikipedia and WikiText. Whole documents, each once."""
    articles = (shared / "wiki" / "articles_30.txt").read_text(encoding="utf-8").splitlines()
    text = (shared / "wiki" / "wikitext2_valid.txt").read_text(encoding="utf-8")
    return {"wiki": written(own / "wiki.jsonl", articles + split_at_titles(text))}


def wiki_and_web(shared: Path, own: Path) -> Sources:
    """Articles of Wikipedia and WikiText; C4 and FineWeb-Edu. Whole documents, each once."""
    import pyarrow.parquet as parquet

    web = [row["text"] for row in read_jsonl(shared / "web" / "c4_200.jsonl")]
    table = parquet.read_table(shared / "web" / "fineweb_edu_150_scored.parquet", columns=["text"])
    web += table.column("text").to_pylist()
    return wiki(shared, own) | {"web": written(own / "web.jsonl", web)}


def made_up(shared: Path, own: Path) -> Sources:
    """Stories that a program writes: for tests."""
    return {"made-up": {"kind": "builtin", "domain": "stories", "documents": 200}}


DATASETS = {
    "stories": Dataset(stories, {"stories": 1}, held_out=0.04),
    "wiki-web": Dataset(wiki_and_web, {"wiki": 2, "web": 1}, held_out=0.08),
    "made-up": Dataset(made_up, {"made-up": 1}, held_out=0.1),
}


def split_at_titles(text: str) -> list[str]:
    """Cut WikiText into its articles; what stands before the first title is left out."""
    starts = [match.start() for match in TITLE.finditer(text)]
    return [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]


class Prepared:
    """Text that is encoded for one shape, in a folder of its own: recipe, tokenizer and shards."""

    def __init__(self, folder: Path):
        self.recipe, self.shards = folder / "recipe.yaml", folder / "shards"
        self.made = RunFolder(folder / "prepared")
        self.tokenizer = self.made.tokenizer

    def new_run(self, run: Path) -> Path:
        """Return a run folder in which everything is prepared; what is trained there goes on."""
        run.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.tokenizer, RunFolder(run).tokenizer)
        return run

    def train(self, run: Path, overrides: Sequence[str], threads: int) -> dict[str, Any]:
        """Train in a folder that is removed before and after; return what the first stage came
        to, and the seconds of it all."""
        began = time.perf_counter()
        shutil.rmtree(run, ignore_errors=True)
        command = ("train", str(self.recipe), *overrides, "--out", str(self.new_run(run)))
        told, _ = yxanul(*command, env=environment(threads))
        shutil.rmtree(run)
        return told["stages"][0] | {"seconds": round(time.perf_counter() - began, 1)}


def prepare(folder: Path, recipe: dict[str, Any]) -> Prepared:
    """Write the recipe, train its tokenizer and encode its text; what is there is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    ready, text = Prepared(folder), yaml.safe_dump(recipe, sort_keys=False)
    if not ready.recipe.exists() or ready.recipe.read_text() != text:
        for made in (ready.made.path, ready.shards):
            shutil.rmtree(made, ignore_errors=True)
        ready.recipe.write_text(text)
    yxanul("prepare", str(ready.recipe), "--out", str(ready.made.path))
    return ready


def recipe_of(
    shape: Shape, dataset: Dataset, sources: Sources, folder: Path, **more: Any
) -> dict[str, Any]:
    """Return the recipe for text that is prepared in a folder: what the package starts from, with
    this text, this shape and one phase; `more` are further parts of it."""
    train = more.pop("train", {})
    return {
        "extends": "base",
        "tokenizer": {"kind": "bpe", "vocab_size": shape.settings.known_vocab_size},
        "data": {
            "sources": sources,
            "validation_fraction": dataset.held_out,
            "folder": str(Prepared(folder).shards),
        },
        "model": shape.model,
        "train": {"batch_tokens": shape.tokens, **train},
        "stages": [
            {
                "name": "language",
                "mix": dict(dataset.mix),
                "budget": {"steps": 1},
                "curriculum": [{"seq_len": shape.seq_len}],
                "gate": {"default_rules": False},
            }
        ],
        "eval": {"every_steps": 10**9, "seq_len": shape.seq_len},
        "monitor": {"alerts": {"all": "off"}},
        **more,
    }
