"""The `transformers` Trainer at its own defaults, fed with the rows that our program reads.

A row has one token more than ours: the Trainer predicts each token from those before it in the row,
so that both are trained on the same targets. The rate is what the job says; the warm-up has the
share of the run that ours has by default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, Trainer, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from harness.learning.jobs import PEER_WARM, PEERS, Job
from harness.learning.texts import Ready, Scale
from yxanul.base.seeds import derive_seed
from yxanul.data.batches import BatchLoader
from yxanul.data.mix import MixCursor, plan_rows
from yxanul.data.order import TokenStream
from yxanul.data.shards import Shards
from yxanul.model.compile import compile_unsupported_reason
from yxanul.model.convert import read_pretrained, write_pretrained
from yxanul.model.language_model import LanguageModel
from yxanul.optim.schedules import warmup_length
from yxanul.recipe import Recipe, load_recipe
from yxanul.tokenizer.tokenizer import Tokenizer

WORTH_COMPILING = 100
"""So many steps have to be ahead."""
LONG_WARMUP = 0.1


def train(
    job: Job, scale: Scale, ready: Ready, folder: Path
) -> tuple[LanguageModel, dict[str, Any]]:
    """Train as the job says; return the model as one of ours, and what is worth noting."""
    recipe = load_recipe(str(ready.recipe), [f"seed={job.seed}"])
    start, trained = folder / "start", folder / "trained"
    write_pretrained(_start_weights(recipe, ready), start)
    trainer = Trainer(
        model=_their_model(start, job),
        args=_arguments(job, scale, recipe, folder),
        train_dataset=_rows(recipe, ready, scale, job),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    trainer.save_model(str(trained))
    settings, tensors = read_pretrained(trained)
    model = LanguageModel(settings)
    model.load_state_dict(tensors)
    first = trainer.state.log_history[0]
    tokens = trainer.state.global_step * scale.rows * scale.seq_len
    return model, {"tokens": tokens, "first_loss": first["loss"]}


def _start_weights(recipe: Recipe, ready: Ready) -> LanguageModel:
    vocab_size = Tokenizer.load(ready.tokenizer).vocab_size
    model = LanguageModel(recipe.model.resolved(vocab_size))
    model.init_weights(torch.Generator().manual_seed(derive_seed(recipe.seed, "weights")))
    return model


def _their_model(start: Path, job: Job) -> torch.nn.Module:
    """Return a Llama of our shape, with our start weights or those it draws itself.

    Of its attentions the plain one is the fastest here: compiled, it halves the time of a step.
    """
    kinds: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": "eager"}
    if job.arm != PEERS[0]:
        return AutoModelForCausalLM.from_pretrained(start, **kinds)
    set_seed(job.seed)
    return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(start), **kinds)


def _arguments(job: Job, scale: Scale, recipe: Recipe, folder: Path) -> TrainingArguments:
    torch.compiler.reset()  # else models of earlier jobs count against the limit of recompiling
    compiles = job.steps >= WORTH_COMPILING and compile_unsupported_reason("cpu") is None
    return TrainingArguments(
        output_dir=str(folder),
        learning_rate=job.rate or 5e-5,
        lr_scheduler_type="cosine",
        warmup_steps=_warmup_steps(job, recipe),
        max_steps=job.steps,
        per_device_train_batch_size=scale.rows,
        train_sampling_strategy="sequential",
        bf16=recipe.train.precision == "bf16",
        seed=job.seed,
        use_cpu=True,
        save_strategy="no",
        logging_first_step=True,
        logging_steps=job.steps,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        torch_compile=compiles,
    )


def _warmup_steps(job: Job, recipe: Recipe) -> int:
    """Return the share of the run that ours takes by default, or a tenth."""
    if job.arm == PEER_WARM:
        return round(LONG_WARMUP * job.steps)
    return warmup_length(recipe.optim.schedule, job.steps)


def _rows(recipe: Recipe, ready: Ready, scale: Scale, job: Job) -> list[dict[str, torch.Tensor]]:
    """Return the rows of all steps in the order in which our program reads them."""
    tokens = recipe.data.shuffle_tokens
    shards = {name: Shards.open(ready.folder, name, "train") for name in ready.dataset.mix}
    loader = BatchLoader(
        {name: TokenStream(one, recipe.seed, tokens) for name, one in shards.items()}
    )
    cursor, found = MixCursor(), []
    for _ in range(job.steps):
        rows, cursor = plan_rows(cursor, recipe.stages[0].mix, scale.rows, scale.seq_len)
        batch = loader.load(rows, scale.seq_len)
        ids_BS = torch.cat([batch.ids_BT, batch.targets_BT[:, -1:]], dim=1)
        found += [{"input_ids": ids, "labels": ids} for ids in ids_BS]
    return found
