"""Train a Llama by litgpt's `pretrain`, as its users call it from Python.

    python -P lit_pretrain.py job.json

It compiles the model in any case (TORCH_COMPILE_DISABLE=1 keeps it from that), logs every step to
a table, scores two batches at its start to see that all is well, and saves at its end; its final
validation is off. Imports nothing of ours.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from litgpt.args import EvalArgs, TrainArgs
from litgpt.config import Config
from litgpt.data import DataModule
from litgpt.pretrain import setup
from torch.utils.data import DataLoader, Dataset


class Rows(Dataset):
    """Rows of tokens, each with the one that follows; notes when the second batch is asked for."""

    def __init__(self, path: str, batch: int):
        self.rows, self.batch = np.load(path, mmap_mode="r"), batch
        self.asked: float | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == self.batch and self.asked is None:
            self.asked = time.time()
        return torch.from_numpy(self.rows[index].astype(np.int64))


class Array(DataModule):
    """The array for training; its first rows for the check at the start."""

    def __init__(self, path: str, batch: int):
        super().__init__()
        self.path, self.batch, self.rows = path, batch, Rows(path, batch)

    def connect(self, *args: Any, **kwargs: Any) -> None:
        """There is nothing to be told."""

    def train_dataloader(self) -> DataLoader[torch.Tensor]:
        """Return all rows in their order."""
        return DataLoader(self.rows, batch_size=self.batch)

    def val_dataloader(self) -> DataLoader[torch.Tensor]:
        """Return them again."""
        return DataLoader(Rows(self.path, self.batch), batch_size=self.batch)


def main() -> None:
    """Train, save, and leave the facts beside the job."""
    job = json.loads(Path(sys.argv[1]).read_text())
    sys.argv = ["litgpt", "pretrain", "llama"]  # it writes down how it was called
    out, data = Path(job["out"]), Array(job["array"], job["rows"])
    setup(
        "llama",
        model_config=Config(**job["model_config"]),
        out_dir=out,
        precision={"fp32": "32-true", "bf16": "bf16-mixed"}[job["precision"]],
        data=data,
        train=TrainArgs(
            global_batch_size=job["rows"],
            micro_batch_size=job["rows"],
            max_tokens=job["steps"] * job["rows"] * job["seq_len"],
            max_seq_length=job["seq_len"],
            max_norm=1.0,
            lr_warmup_steps=2,
            tie_embeddings=job["tied"],
        ),
        eval=EvalArgs(interval=1000, max_iters=100, final_validation=False),
        optimizer={"class_path": "torch.optim.AdamW", "init_args": {"lr": job["rate"]}},
        devices=1,
        logger_name="csv",
        seed=job["seed"],
    )
    (log,) = (out / "logs").rglob("metrics.csv")
    lines = list(csv.DictReader(log.open()))
    losses = [float(line["loss"]) for line in lines if line["loss"]]
    facts = {
        "tokens": int(lines[-1]["tokens"]),
        "mean_loss": sum(losses) / len(losses),
        "first_step_seconds": data.rows.asked and data.rows.asked - job["launched"],
        "saved": sorted(path.name for path in (out / "final").iterdir()),
    }
    Path(job["facts"]).write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
