"""litgpt: its GPT under a Llama-like configuration, the loss of its `pretrain`, and `pretrain`.

It rounds the vocabulary up, by default to a multiple of 512; 64, as nanoGPT's, costs it less and
leaves the loss at the start as it is. Imports nothing of ours, as the seconds of its whole process
are compared with those of ours.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from litgpt.config import Config
from litgpt.model import GPT
from litgpt.utils import chunked_cross_entropy
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from peers import Trainee
from peers.folder import autocast, joined_qkv, load_tensors, padded, read_config


def step(job: dict[str, Any], compiled: bool = False) -> Trainee:
    """Return their model, under autocast in bf16."""
    config = read_config(job["weights"])
    model = GPT(config_of(config))
    model.max_seq_length = job["seq_len"]
    model.load_state_dict(_tensors(model, load_tensors(job["weights"])))
    if config["tie_word_embeddings"]:
        model.transformer.wte.weight = model.lm_head.weight
    model.to(job["device"]).train()
    forward = torch.compile(model) if compiled else model

    def loss(ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        with autocast(job):
            return chunked_cross_entropy(forward(ids_BT), targets_BT)

    return Trainee(model, loss)


def config_of(config: dict[str, Any]) -> Config:
    """Return their configuration for a config.json of `transformers`."""
    return Config(
        name="llama",
        block_size=config["max_position_embeddings"],
        n_layer=config["num_hidden_layers"],
        n_embd=config["hidden_size"],
        n_head=config["num_attention_heads"],
        n_query_groups=config["num_key_value_heads"],
        head_size=config["head_dim"],
        vocab_size=config["vocab_size"],
        padding_multiple=64,
        intermediate_size=config["intermediate_size"],
        norm_class_name="RMSNorm",
        norm_eps=config["rms_norm_eps"],
        mlp_class_name="LLaMAMLP",
        rotary_percentage=1.0,
        rope_base=round(config["rope_theta"]),
        parallel_residual=False,
        bias=False,
    )


def _tensors(model: GPT, given: dict[str, Tensor]) -> dict[str, Tensor]:
    table, rows = given["model.embed_tokens.weight"], model.config.padded_vocab_size
    found = {
        "transformer.wte.weight": padded(table, rows),
        "lm_head.weight": padded(given.get("lm_head.weight", table), rows),
        "transformer.ln_f.weight": given["model.norm.weight"],
    }
    for n in range(model.config.n_layer):
        block, layer = f"transformer.h.{n}", f"model.layers.{n}"
        found[f"{block}.attn.qkv.weight"] = joined_qkv(given, n)
        found[f"{block}.attn.proj.weight"] = given[f"{layer}.self_attn.o_proj.weight"]
        for theirs, name in (("fc_1", "gate"), ("fc_2", "up"), ("proj", "down")):
            found[f"{block}.mlp.{theirs}.weight"] = given[f"{layer}.mlp.{name}_proj.weight"]
        found[f"{block}.norm_1.weight"] = given[f"{layer}.input_layernorm.weight"]
        found[f"{block}.norm_2.weight"] = given[f"{layer}.post_attention_layernorm.weight"]
    return found


class Rows(Dataset):
    """Rows of tokens, each with the one that follows; notes when the second batch is asked for."""

    def __init__(self, path: str, batch: int):
        self.rows, self.batch = np.load(path, mmap_mode="r"), batch
        self.asked: float | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        if index == self.batch and self.asked is None:
            self.asked = time.time()
        return torch.from_numpy(self.rows[index].astype(np.int64))


def trainer(job: dict[str, Any], compiled: bool = True) -> dict[str, Any]:
    """Train by `pretrain`, as its users call it from Python, from weights that it draws itself.

    It compiles the model in any case (unless torch is told not to), logs every step to a table,
    scores two batches at its start to see that all is well, and saves at its end; its final
    validation is off.
    """
    from litgpt.args import EvalArgs, TrainArgs
    from litgpt.data import DataModule
    from litgpt.pretrain import setup

    class Array(DataModule):
        """The array for training; its first rows again for the check at the start."""

        def connect(self, *args: Any, **kwargs: Any) -> None:
            """There is nothing to be told."""

        def train_dataloader(self) -> DataLoader[Tensor]:
            return DataLoader(rows, batch_size=job["rows"])

        def val_dataloader(self) -> DataLoader[Tensor]:
            return DataLoader(Rows(job["array"], job["rows"]), batch_size=job["rows"])

    if not compiled:
        torch.compiler.set_stance("force_eager")
    rows, out, config = (
        Rows(job["array"], job["rows"]),
        Path(job["out"]),
        read_config(job["weights"]),
    )
    sys.argv = ["litgpt", "pretrain", "llama"]  # it writes down how it was called
    setup(
        "llama",
        model_config=config_of(config),
        out_dir=out,
        precision={"fp32": "32-true", "bf16": "bf16-mixed"}[job["precision"]],
        data=Array(),
        train=TrainArgs(
            global_batch_size=job["rows"],
            micro_batch_size=job["rows"],
            max_tokens=job["steps"] * job["rows"] * job["seq_len"],
            max_seq_length=job["seq_len"],
            max_norm=1.0,
            lr_warmup_steps=2,
            tie_embeddings=config["tie_word_embeddings"],
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
    return {
        "tokens": int(lines[-1]["tokens"]),
        "mean_loss": sum(losses) / len(losses),
        "first_step_seconds": rows.asked and rows.asked - job["launched"],
        "saved": sorted(path.name for path in (out / "final").iterdir()),
    }
