"""The text of the study, and the recipe that reads it: what all arms of a data set share."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import yaml

from harness.learning.shell import yxanul
from yxanul.base.run_folder import RunFolder

TITLE = re.compile(r"^ = [^=].* = $", re.MULTILINE)
"""Where an article of WikiText begins."""


@dataclass(frozen=True)
class Scale:
    """The size of every job: model, vocabulary, rows and steps."""

    preset: str
    vocab_size: int
    seq_len: int
    batch_tokens: int

    @property
    def rows(self) -> int:
        """Rows of a step at the full length."""
        return self.batch_tokens // self.seq_len


SCALES = {"micro": Scale("micro", 4096, 256, 2048), "tiny": Scale("nano", 320, 32, 128)}
"""`tiny` is for tests."""


@dataclass(frozen=True)
class Dataset:
    """Sources of text, how they are mixed, and how much of them is held out."""

    sources: Callable[[Path, Path], dict[str, dict[str, Any]]]
    """(shared data, folder for files of its own) -> sources of a recipe."""
    mix: dict[str, float]
    held_out: float


def stories(shared: Path, own: Path) -> dict[str, dict[str, Any]]:
    """TinyStories."""
    return {"stories": {"kind": "text", "path": str(shared / "stories" / "tinystories.txt")}}


def wiki_and_web(shared: Path, own: Path) -> dict[str, dict[str, Any]]:
    """Articles of Wikipedia and WikiText; C4 and FineWeb-Edu. Whole documents, each once."""
    wikitext = (shared / "wiki" / "wikitext2_valid.txt").read_text(encoding="utf-8")
    wiki = (shared / "wiki" / "articles_30.txt").read_text(encoding="utf-8").splitlines()
    wiki += split_at_titles(wikitext)
    c4 = (shared / "web" / "c4_200.jsonl").read_text(encoding="utf-8").splitlines()
    web = [json.loads(line)["text"] for line in c4]
    table = parquet.read_table(shared / "web" / "fineweb_edu_150_scored.parquet", columns=["text"])
    web += table.column("text").to_pylist()
    return {"wiki": _as_jsonl(own / "wiki.jsonl", wiki), "web": _as_jsonl(own / "web.jsonl", web)}


def made_up(shared: Path, own: Path) -> dict[str, dict[str, Any]]:
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


def _as_jsonl(path: Path, texts: Iterable[str]) -> dict[str, Any]:
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts if text.strip()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"kind": "jsonl", "path": str(path), "text_column": "text"}


@dataclass(frozen=True)
class Ready:
    """A data set that is encoded."""

    dataset: Dataset
    recipe: Path
    tokenizer: Path
    folder: Path
    """Of the shards."""


def make_ready(name: str, scale: Scale, precision: str, shared: Path, work: Path) -> Ready:
    """Write the recipe of a data set, train its tokenizer and encode it; what is there is kept."""
    own, dataset = work / name, DATASETS[name]
    own.mkdir(parents=True, exist_ok=True)
    recipe, prepared = own / "recipe.yaml", RunFolder(own / "prepared")
    ready = Ready(dataset, recipe, prepared.tokenizer, own / "shards")
    wanted = recipe_of(dataset, dataset.sources(shared, own), scale, precision, ready.folder)
    text = yaml.safe_dump(wanted, sort_keys=False)
    if not recipe.exists() or recipe.read_text() != text:
        for made in (prepared.path, ready.folder):
            shutil.rmtree(made, ignore_errors=True)
        recipe.write_text(text)
    yxanul("prepare", str(recipe), "--out", str(prepared.path))
    return ready


def recipe_of(
    dataset: Dataset, sources: dict[str, Any], scale: Scale, precision: str, shards: Path
) -> dict[str, Any]:
    """Return the recipe: what the package starts from, with this text and one phase."""
    never = 10**9
    return {
        "extends": "base",
        "tokenizer": {"kind": "bpe", "vocab_size": scale.vocab_size},
        "data": {
            "sources": sources,
            "validation_fraction": dataset.held_out,
            "folder": str(shards),
        },
        "model": {"preset": scale.preset},
        "train": {
            "precision": precision,
            "batch_tokens": scale.batch_tokens,
            "checkpoint": {"every_steps": None, "keep": 1},
        },
        "stages": [
            {
                "name": "language",
                "mix": dict(dataset.mix),
                "budget": {"steps": 1},
                "curriculum": [{"seq_len": scale.seq_len}],
                "gate": {"default_rules": False},
            }
        ],
        "eval": {"every_steps": never, "seq_len": scale.seq_len},
        "monitor": {"alerts": False},
    }
