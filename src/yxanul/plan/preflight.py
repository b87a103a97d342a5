"""Preflight: find what a recipe needs and this machine lacks, before any work starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from yxanul.base.cache import is_address
from yxanul.base.errors import YxanulError, missing_package
from yxanul.base.files import expand_home
from yxanul.base.settings import Misfit
from yxanul.base.ui import SilentUi
from yxanul.data.config import DataSettings
from yxanul.eval.run_tasks import ALL_TASKS, TaskOptions, check_possible, check_shots
from yxanul.model.count import count_parameters
from yxanul.optim.schedules import check_schedule
from yxanul.optim.table import OPTIMIZERS
from yxanul.recipe import Recipe
from yxanul.recipe.source_map import Keys
from yxanul.stages.config import longest_row, stage_optim
from yxanul.stages.plan import counted_plan
from yxanul.text.config import HubSettings, JsonlSettings, ParquetSettings, TextSettings
from yxanul.text.filters.config import (
    FilterSettings,
    LanguageFilterSettings,
    QualityFilterSettings,
)

SMALL_BYTES = 1 << 30
"""Memory that every machine is assumed to have, so that it is not queried."""
_TRACKERS = {"tensorboard": "tensorboard", "wandb": "wandb"}


def of_text(recipe: Recipe) -> Iterator[Misfit]:
    """Yield obstacles to reading and encoding the text."""
    data = recipe.data
    for name, source in data.sources.items():
        at = ("data", "sources", name)
        if isinstance(source, TextSettings | JsonlSettings | ParquetSettings):
            yield from _missing_text(source, (*at, "path"))
        elif isinstance(source, HubSettings):
            yield from _missing_package("datasets", "data", (*at, "kind"))
    yield from _filters(data)
    for name, path in data.benchmarks.items():
        if path is not None and not is_address(path):
            yield from _missing_file(path, ("data", "decontaminate", "benchmarks", name, "path"))
    if data.deduplicate is not None and data.deduplicate.near is not None:
        yield from _missing_package("rensa", "data", ("data", "deduplicate", "near"))
    if data.executor == "ray":
        yield from _missing_package("ray", "ray", ("data", "executor"))
    if data.folder is not None and not is_address(data.folder):
        yield from _no_folder(data.folder, ("data", "folder"))


def _filters(data: DataSettings) -> Iterator[Misfit]:
    lists: list[tuple[Keys, Sequence[FilterSettings]]] = [(("data", "filters"), data.filters)]
    for name, source in data.sources.items():
        lists.append((("data", "sources", name, "filters"), source.filters or ()))
    for at, filters in lists:
        for number, one in enumerate(filters):
            if isinstance(one, LanguageFilterSettings):
                yield from _missing_package("py3langid", "data", (*at, number))
            elif isinstance(one, QualityFilterSettings):
                file = one.function.rpartition(":")[0]
                yield from _missing_file(file, (*at, number, "function"))


def of_preparation(recipe: Recipe) -> Iterator[Misfit]:
    """Yield obstacles to `yxanul prepare`: those that do not depend on the training machine."""
    yield from of_text(recipe)
    yield from of_schedules(recipe)


def of_training(recipe: Recipe, processes: int = 1) -> Iterator[Misfit]:
    """Yield obstacles to training on this machine with `processes` ranks."""
    for name in recipe.monitor.trackers:
        if name in _TRACKERS:
            yield from _missing_package(_TRACKERS[name], "track", ("monitor", "trackers"))
    if recipe.train.strategy == "deepspeed" and processes > 1:
        yield from _missing_package("deepspeed", "deepspeed", ("train", "strategy"))
    if recipe.train.precision == "fp8":
        engine = recipe.train.fp8.engine
        yield from _missing_package(engine, "fp8", ("train", "precision"))
    yield from _device_and_attention(recipe)
    yield from of_schedules(recipe)
    yield from _stride(recipe)
    yield from _tasks(recipe)
    yield from of_memory(recipe, processes)


def of_schedules(recipe: Recipe) -> Iterator[Misfit]:
    """Yield warm-ups that do not fit into their stage, where its length is already known."""
    for index, stage in enumerate(recipe.stages):
        budget, optim = stage.budget, stage_optim(recipe.optim, stage)
        if (plan := counted_plan(recipe, stage)) is None:
            continue
        try:
            check_schedule(optim, total_steps=plan.total_steps, total_tokens=plan.total_tokens)
        except YxanulError as error:
            yield Misfit(
                f"stage '{stage.name}': {error}",
                ("stages", index, "budget", "steps" if budget.steps else "tokens"),
                ("stages", index, "optim", "schedule"),
                ("optim", "schedule"),
            )


def _stride(recipe: Recipe) -> Iterator[Misfit]:
    """Yield a stride longer than an evaluation window, by default the sequence length of the first
    stage that trains the domain."""
    stride, seen = recipe.eval.stride, set[str]()
    for stage in recipe.stages:
        length = recipe.eval.seq_len or longest_row(stage)
        if stride is not None and stride > length and not seen.issuperset(stage.domains()):
            yield Misfit(
                f"eval.stride is {stride}, more than the evaluation window of stage '{stage.name}',"
                f" {length} tokens",
                ("eval", "stride"),
                ("eval", "seq_len"),
            )
            return
        seen.update(stage.domains())


def _tasks(recipe: Recipe) -> Iterator[Misfit]:
    """Yield tasks whose files are missing, whose limit leaves too few documents for their shots, or
    whose programs cannot run here."""
    settings = recipe.eval
    metrics = [metric for stage in recipe.stages for metric in stage.gate.metrics()]
    folder = expand_home(settings.task_data) if settings.task_data else None
    options = TaskOptions(allow_code=settings.allow_code)
    tasks = settings.gate_tasks(metrics)
    if tasks and folder is None:
        yield from _missing_package("datasets", "data", ("eval", "tasks"))
    for task in tasks:
        try:
            row = ALL_TASKS[task.name]
            check_possible([row], folder, options)
            shots = TaskOptions(limit=task.limit, num_fewshot=task.num_fewshot)
            check_shots({task.name: row}, shots, SilentUi())
        except YxanulError as error:
            yield Misfit(str(error), ("eval", "task_data"), ("eval", "tasks"))


def of_memory(recipe: Recipe, processes: int = 1) -> Iterator[Misfit]:
    """Yield a model whose weights, gradients and optimizer state exceed the memory.

    Activations are not included; a dry run checks them before the first step.
    """
    model = recipe.model.resolved(recipe.model.vocab_size or recipe.max_vocab_size)
    number, train = count_parameters(model), recipe.train
    bytes_each = {
        "weights": 4,
        "gradients": 4,
        "optimizer state": 4 * OPTIMIZERS[recipe.optim.name].state_numbers,
    }
    if train.precision in ("bf16", "fp16", "fp8") and train.strategy not in ("fsdp", "deepspeed"):
        bytes_each[f"weights in {train.precision}"] = 2
    if recipe.optim.ema is not None:
        bytes_each["EMA"] = 4
    needed = number * sum(bytes_each.values())
    if train.strategy in ("fsdp", "deepspeed"):
        needed //= processes
    if needed <= SMALL_BYTES:
        return
    from yxanul.train.memory import device_memory
    from yxanul.train.mixed_precision.weights import choose_device

    device = choose_device(train.device if train.device != "cuda" else "auto")
    if device.type == "cpu":
        needed *= min(processes, int(os.environ.get("LOCAL_WORLD_SIZE", processes)))
    if needed > (available := device_memory(device)):
        shares = ", ".join(f"{size:g} bytes of {name}" for name, size in bytes_each.items() if size)
        yield Misfit(
            f"training {number:,} parameters needs at least {_gib(needed)} ({shares} each); this"
            f" machine's {'memory' if device.type == 'cpu' else 'GPU'} has {_gib(available)}; use a"
            " smaller model or another model.preset",
            *(("model", name) for name in ("width", "depth", "ffn_width", "vocab_size", "preset")),
        )


def _gib(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"


def _device_and_attention(recipe: Recipe) -> Iterator[Misfit]:
    train, model = recipe.train, recipe.model
    if train.device != "cuda" and train.attention == "auto":
        return  # always possible: do not import torch
    import torch

    from yxanul.model.attention import BACKENDS, Shape
    from yxanul.train.mixed_precision.weights import DTYPES, choose_precision

    has_gpu = torch.cuda.is_available()
    if train.device == "cuda" and not has_gpu:
        yield Misfit("torch finds no GPU; set auto or cpu", ("train", "device"))
        return
    device = torch.device("cuda" if has_gpu and train.device != "cpu" else "cpu")
    if train.attention != "auto":
        dtype = DTYPES[choose_precision(train.precision, device)]
        length = max(map(longest_row, recipe.stages))
        heads = (model.num_heads, model.num_kv_heads, model.head_width)
        shape = Shape(device.type, dtype, 1, length, *heads, None, model.document_masking)
        if reason := BACKENDS[train.attention].unsupported_reason(shape):
            text = f"'{train.attention}' cannot be used here: {reason}; set auto"
            yield Misfit(text, ("train", "attention"))


def _missing_package(package: str, extra: str, at: Keys) -> Iterator[Misfit]:
    if find_spec(package) is None:
        yield Misfit(str(missing_package(package, extra)), at)


def _missing_file(path: str, at: Keys) -> Iterator[Misfit]:
    if not os.access(os.path.expanduser(path), os.R_OK):
        yield Misfit(f"file {path} does not exist or is not readable", at)


def _missing_text(
    source: TextSettings | JsonlSettings | ParquetSettings, at: Keys
) -> Iterator[Misfit]:
    from yxanul.text.sources.files import find_files
    from yxanul.text.sources.remote import is_remote

    if is_remote(source.path):
        return
    try:
        files = find_files(source.path, ("",))
    except YxanulError as error:
        yield Misfit(str(error), at)
        return
    unreadable = [file.address for file in files if not os.access(file.address, os.R_OK)]
    if unreadable and source.on_bad_file == "stop":
        is_broken = os.path.islink(unreadable[0]) and not os.path.exists(unreadable[0])
        reason = "is a broken link" if is_broken else "is not readable"
        yield Misfit(f"file {unreadable[0]} {reason}", at)


def _no_folder(path: str, at: Keys) -> Iterator[Misfit]:
    try:
        folder = expand_home(path)
    except YxanulError as error:
        yield Misfit(str(error), at)
        return
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        yield Misfit(f"{nearest} is not a folder", at)
    elif not os.access(nearest, os.W_OK | os.X_OK):
        yield Misfit(f"folder {nearest} is not writable", at)
