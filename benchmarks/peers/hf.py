"""`transformers`: its Llama or Gemma 3, its own loss, its own `generate`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from peers import DecodeJob, StepJob, Trainee


def trainee(job: StepJob, attention: str, compiled: bool = False) -> Trainee:
    """Return their model, under autocast in bf16."""
    model = _load(job, torch.float32, attention).train()
    model.config.use_cache = False
    forward = torch.compile(model) if compiled else model
    autocast = torch.autocast(job.device.type, torch.bfloat16, enabled=job.precision == "bf16")

    def loss(ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        with autocast:  # shift_labels: the targets are one token ahead already
            return forward(ids_BT, labels=targets_BT, shift_labels=targets_BT).loss

    return Trainee(model, loss)


def decoder(
    job: DecodeJob, cache: str, compiled: bool = False
) -> Callable[[list[list[int]], int], list[list[int]]]:
    """Return what continues prompts greedily, by a cache that grows or one allocated at once."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[job.precision]
    model = _load(job, dtype, "sdpa").eval()

    def generate(prompts: list[list[int]], num_new: int) -> list[list[int]]:
        ids_BS = torch.tensor(prompts, device=job.device)
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


def _load(job: StepJob, dtype: torch.dtype, attention: str) -> torch.nn.Module:
    model = AutoModelForCausalLM.from_pretrained(
        job.weights, dtype=dtype, attn_implementation=attention
    )
    return model.to(job.device)
