"""Text for whole trainers: our recipe and shards, and the same tokens in a plain array."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from harness.corpus import write_corpus
from harness.learning.shell import yxanul
from harness.shapes import Shape
from yxanul.base.run_folder import RunFolder
from yxanul.data.batches import BatchLoader
from yxanul.data.mix import MixCursor, plan_rows
from yxanul.data.order import TokenStream
from yxanul.data.shards import Shards
from yxanul.recipe import load_recipe

SOURCE = "text"
PEAK_RATE = 1e-3
HELD_OUT_BYTES = 16_000
"""Text that our gate scores; the peers score none."""


@dataclass(frozen=True)
class Ready:
    """Text that is encoded for one shape."""

    shape: Shape
    recipe: Path
    tokenizer: Path
    shards: Path
    made: dict[str, Any]
    """What the text is made of."""

    @property
    def rows(self) -> int:
        """Rows of a step."""
        return self.shape.tokens // self.shape.seq_len

    def new_run(self, folder: Path) -> Path:
        """Return a run folder in which everything is prepared and nothing trained."""
        folder.mkdir(parents=True)
        shutil.copy(self.tokenizer, RunFolder(folder).tokenizer)
        return folder


def make_ready(shape: Shape, folder: Path, num_bytes: int, shared: Path, seed: int) -> Ready:
    """Write text and a recipe, train the tokenizer, encode."""
    corpus, recipe, prepared = folder / "corpus", folder / "recipe.yaml", folder / "prepared"
    made = write_corpus(corpus, num_bytes, 1, shared, seed)
    wanted = recipe_of(shape, corpus, folder / "shards", HELD_OUT_BYTES / num_bytes, seed)
    recipe.write_text(yaml.safe_dump(wanted, sort_keys=False))
    yxanul("prepare", str(recipe), "--out", str(prepared))
    return Ready(shape, recipe, RunFolder(prepared).tokenizer, folder / "shards", made)


def recipe_of(
    shape: Shape, corpus: Path, shards: Path, held_out: float, seed: int
) -> dict[str, Any]:
    """Return the recipe: what the package starts from, with AdamW, this text and one phase."""
    never = 10**9
    return {
        "extends": "base",
        "seed": seed,
        "tokenizer": {"kind": "bpe", "vocab_size": shape.settings.num_tokens},
        "data": {
            "sources": {SOURCE: {"kind": "jsonl", "path": str(corpus), "text_column": "text"}},
            "validation_fraction": min(held_out, 0.2),
            "folder": str(shards),
        },
        "model": shape.model,
        "optim": {"name": "adamw", "peak_lr": PEAK_RATE},
        "train": {"batch_tokens": shape.tokens},
        "stages": [
            {
                "name": "language",
                "mix": {SOURCE: 1},
                "budget": {"steps": 1},
                "curriculum": [{"seq_len": shape.seq_len}],
                "gate": {"default_rules": False},
            }
        ],
        "eval": {"every_steps": never, "seq_len": shape.seq_len},
        "monitor": {"alerts": False},
    }


def write_rows(ready: Ready, steps: int, path: Path) -> None:
    """Write the rows that our program reads, in its order, each with the token that follows it.

    An array of uint16 (rows of all steps, seq_len + 1), as numpy saves it.
    """
    recipe = load_recipe(str(ready.recipe))
    shards = Shards.open(ready.shards, SOURCE, "train")
    loader = BatchLoader({SOURCE: TokenStream(shards, recipe.seed, recipe.data.shuffle_tokens)})
    cursor, found = MixCursor(), []
    for _ in range(steps):
        rows, cursor = plan_rows(cursor, {SOURCE: 1.0}, ready.rows, ready.shape.seq_len)
        batch = loader.load(rows, ready.shape.seq_len)
        ids_BS = np.concatenate([batch.ids_BT.numpy(), batch.targets_BT[:, -1:].numpy()], axis=1)
        found.append(ids_BS.astype(np.uint16))
    np.save(path, np.concatenate(found))
