"""litgpt: its GPT under a Llama-like configuration, and the loss of its `pretrain` script.

It rounds the vocabulary up, by default to a multiple of 512; 64, as nanoGPT's, costs it less and
leaves the loss at the start as it is.
"""

from __future__ import annotations

import torch
from litgpt.config import Config
from litgpt.model import GPT
from litgpt.utils import chunked_cross_entropy
from torch import Tensor

from peers import StepJob, Trainee
from peers.lit_config import config_fields
from peers.tensors import joined_qkv, load_tensors, padded


def trainee(job: StepJob, compiled: bool = False) -> Trainee:
    """Return their model, under autocast in bf16."""
    model = GPT(Config(**config_fields(job.shape.settings)))
    model.max_seq_length = job.seq_len
    model.load_state_dict(_tensors(model, job))
    if job.shape.settings.head == "tied":
        model.transformer.wte.weight = model.lm_head.weight
    model.to(job.device).train()
    forward = torch.compile(model) if compiled else model
    autocast = torch.autocast(job.device.type, torch.bfloat16, enabled=job.precision == "bf16")

    def loss(ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        with autocast:
            return chunked_cross_entropy(forward(ids_BT), targets_BT)

    return Trainee(model, loss)


def _tensors(model: GPT, job: StepJob) -> dict[str, Tensor]:
    given, rows = load_tensors(job.weights), model.config.padded_vocab_size
    table = given["model.embed_tokens.weight"]
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
