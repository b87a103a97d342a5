"""Train a Llama by the `transformers` Trainer, as a script of its users would.

    python -P hf_pretrain.py job.json

Blocks of the array are input and labels at once. What is not given is the Trainer's default: no
attention mask, AdamW, a line of loss every 500 steps, a checkpoint at the end. Imports nothing of
ours.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)


class Blocks(Dataset):
    """Blocks of tokens."""

    def __init__(self, path: str, length: int):
        self.rows, self.length = np.load(path, mmap_mode="r"), length

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = torch.from_numpy(self.rows[index, : self.length].astype(np.int64))
        return {"input_ids": ids, "labels": ids}


class FirstStep(TrainerCallback):
    """Notes when the first step is done."""

    def __init__(self, launched: float):
        self.launched = launched
        self.seconds: float | None = None

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Look at the clock, once."""
        if self.seconds is None:
            self.seconds = time.time() - self.launched


def main() -> None:
    """Train, save, and leave the facts beside the job."""
    job = json.loads(Path(sys.argv[1]).read_text())
    set_seed(job["seed"])
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(job["config"]))
    first = FirstStep(job["launched"])
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=job["out"],
            max_steps=job["steps"],
            per_device_train_batch_size=job["rows"],
            learning_rate=job["rate"],
            bf16=job["precision"] == "bf16",
            seed=job["seed"],
            use_cpu=True,
            train_sampling_strategy="sequential",
            torch_compile=job["compiled"],
        ),
        train_dataset=Blocks(job["array"], job["seq_len"]),
        callbacks=[first],
    )
    done = trainer.train()
    facts = {
        "parameters": model.num_parameters(),
        "tokens": trainer.state.global_step * job["rows"] * job["seq_len"],
        "mean_loss": done.training_loss,
        "first_step_seconds": first.seconds,
        "saved": sorted(path.name for path in Path(job["out"]).glob("checkpoint-*/*")),
    }
    Path(job["facts"]).write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
