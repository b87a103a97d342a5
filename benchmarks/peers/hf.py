"""`transformers`: its Llama or Gemma 3, its own loss, its own `generate`, its own Trainer.

Imports nothing of ours, as the seconds of its whole process are compared with those of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import AutoConfig, AutoModelForCausalLM

from peers import Trainee
from peers.folder import autocast


def step(job: dict[str, Any], attention: str, compiled: bool = False) -> Trainee:
    """Return their model, under autocast in bf16."""
    model = _load(job, torch.float32, attention).train()
    model.config.use_cache = False
    forward = torch.compile(model) if compiled else model

    def loss(ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        with autocast(job):  # shift_labels: the targets are one token ahead already
            return forward(ids_BT, labels=targets_BT, shift_labels=targets_BT).loss

    return Trainee(model, loss)


def decode(
    job: dict[str, Any], cache: str, compiled: bool = False
) -> Callable[[list[list[int]], int], list[list[int]]]:
    """Return what continues prompts greedily, by a cache that grows or one allocated at once."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[job["precision"]]
    model = _load(job, dtype, "sdpa").eval()

    def generate(prompts: list[list[int]], num_new: int) -> list[list[int]]:
        ids_BS = torch.tensor(prompts, device=job["device"])
        written = model.generate(
            ids_BS,
            attention_mask=torch.ones_like(ids_BS),
            do_sample=False,
            min_new_tokens=num_new,
            max_new_tokens=num_new,
            cache_implementation=cache,
            disable_compile=not compiled,
        )
        return written[:, ids_BS.shape[1] :].tolist()

    return generate


def trainer(job: dict[str, Any], compiled: bool = False) -> dict[str, Any]:
    """Train by the Trainer as a script of its users would, from weights that it draws itself.

    What is not given is its default: no attention mask, AdamW, a line of loss every 500 steps, a
    checkpoint at the end.
    """
    model = _draw(job)
    done = _train(job, model, job["seq_len"], {"torch_compile": compiled})
    return {
        "parameters": model.num_parameters(),
        "tokens": done["tokens"],
        "mean_loss": done["mean_loss"],
        "first_step_seconds": done["first_step_seconds"],
        "saved": sorted(path.name for path in Path(job["out"]).glob("checkpoint-*/*")),
    }


def learning(job: dict[str, Any]) -> dict[str, Any]:
    """Train by the Trainer at its own defaults with a cosine, from our start weights or those that
    it draws itself, on all rows of the array; save the model.

    A row has one token more than ours: the Trainer predicts each token from those before it in the
    row, so that both are trained on the same targets. Of its attentions the plain one is the
    fastest on a CPU: compiled, it halves the time of a step.
    """
    given = job["start"] == "ours"
    model = _load(job, torch.float32, "eager") if given else _draw(job, attention="eager")
    arguments = {
        "lr_scheduler_type": "cosine",
        "warmup_steps": job["warmup_steps"],
        "save_strategy": "no",
        "logging_first_step": True,
        "logging_steps": job["steps"],
        "dataloader_pin_memory": False,
        "torch_compile": job["compiled"],
    }
    done = _train(job, model, job["seq_len"] + 1, arguments)
    model.save_pretrained(job["out"])
    return {"tokens": done["tokens"], "first_loss": done["first_loss"]}


class Blocks(Dataset):
    """Rows of an array of tokens, cut to a length; input and labels at once."""

    def __init__(self, path: str, length: int):
        self.rows, self.length = np.load(path, mmap_mode="r"), length

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        ids = torch.from_numpy(self.rows[index, : self.length].astype(np.int64))
        return {"input_ids": ids, "labels": ids}


def _train(
    job: dict[str, Any], model: Any, length: int, arguments: dict[str, Any]
) -> dict[str, Any]:
    """Run the Trainer on rows of some length, in their order, with arguments beside the common."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class FirstStep(TrainerCallback):
        seconds: float | None = None

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.seconds = self.seconds or time.time() - job["launched"]

    first = FirstStep()
    settings = TrainingArguments(
        output_dir=job["out"],
        max_steps=job["steps"],
        per_device_train_batch_size=job["rows"],
        learning_rate=job["rate"],
        bf16=job["precision"] == "bf16",
        seed=job["seed"],
        use_cpu=True,
        train_sampling_strategy="sequential",
        **arguments,
    )
    rows = Blocks(job["array"], length)
    trainer = Trainer(model=model, args=settings, train_dataset=rows, callbacks=[first])
    done = trainer.train()
    return {
        "tokens": trainer.state.global_step * job["rows"] * job["seq_len"],
        "mean_loss": done.training_loss,
        "first_loss": trainer.state.log_history[0].get("loss"),
        "first_step_seconds": first.seconds,
    }


def _load(job: dict[str, Any], dtype: torch.dtype, attention: str) -> Any:
    model = AutoModelForCausalLM.from_pretrained(
        job["weights"], dtype=dtype, attn_implementation=attention
    )
    return model.to(job["device"])


def _draw(job: dict[str, Any], attention: str | None = None) -> Any:
    """Return the model of the folder with weights that `transformers` draws."""
    from transformers import set_seed

    set_seed(job["seed"])
    config = AutoConfig.from_pretrained(job["weights"])
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention)
