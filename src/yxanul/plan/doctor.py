"""Machine report: installed packages, and matmul, attention and torch.compile tested and timed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import time
from typing import Any

import torch

from yxanul.base.ui import Ui
from yxanul.model.attention import BACKENDS, Shape
from yxanul.model.attention.choice import by_rule, candidates
from yxanul.model.attention.mask import MaskSpec
from yxanul.model.compile import compile_unsupported_reason
from yxanul.monitor.peak_flops import has_bf16_units, measure_matmul
from yxanul.train.mixed_precision.weights import DTYPES, choose_precision

REQUIRED = ("torch", "numpy", "tokenizers", "safetensors", "pyarrow", "pydantic", "typer", "rich")
OPTIONAL = {
    "datasets": "data",
    "gigatoken": "data",
    "zstandard": "data",
    "transformers": "hf",
    "lm-eval": "eval",
    "torchao": "fp8",
    "deepspeed": "deepspeed",
    "ray": "ray",
    "matplotlib": "plot",
    "tensorboard": "track",
    "wandb": "track",
}
"""Packages by the yxanul extra that installs them."""

ATTENTION = {
    "rows of 256": (4, 256, None, False),
    "rows of 1024": (1, 1024, None, False),
    "with a window of 256": (1, 1024, 256, False),
    "with document masking": (1, 1024, None, True),
}
"""Shapes for timing attention: batch, length, window, document mask; 4 query and 2 KV heads of
width 64."""


def examine(ui: Ui, *, with_compile: bool) -> dict[str, Any]:
    """Return a report with sections machine, packages, matmul, attention, compile and advice."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with ui.task("examine", 4, "checks") as bar:
        report: dict[str, Any] = {"machine": machine(), "packages": packages()}
        bar.advance(1, "matmul")
        report["matmul (TFLOP/s)"] = matmul_speeds(device)
        bar.advance(1, "attention")
        report["attention (ms of forward and backward, measured once)"] = attention_times(device)
        bar.advance(1, "compile")
        if with_compile:
            report["compile"] = {"torch.compile": try_compile(device)}
        bar.advance(1)
    report["advice"] = advice(report, device)
    return report


def machine() -> dict[str, str]:
    """Return a description of processor, memory and devices."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    facts = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cpu": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads for torch",
        "memory": f"{memory / 2**30:.1f} GiB",
        "free disk here": f"{shutil.disk_usage('.').free / 2**30:.1f} GiB",
        "gpu": "none",
    }
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        facts["gpu" if index == 0 else f"gpu {index}"] = (
            f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"
        )
    return facts


def packages() -> dict[str, str]:
    """Return the version of each package, or how to install it."""
    versions = {name: importlib.metadata.version(name) for name in REQUIRED}
    for name, extra in OPTIONAL.items():
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = f"not installed (pip install 'yxanul[{extra}]')"
    return versions


def matmul_speeds(device: torch.device) -> dict[str, float | str]:
    """Measure the throughput of large matmuls in each dtype that the hardware supports."""
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if device.type == "cuda":
        dtypes["fp16"] = torch.float16
    speeds: dict[str, float | str] = {}
    for name, dtype in dtypes.items():
        if dtype is torch.bfloat16 and not has_bf16_units(device):
            speeds[name] = "no bf16 units"
        else:
            speeds[name] = round(measure_matmul(device, dtype) / 1e12, 3)
    return speeds


def attention_times(device: torch.device) -> dict[str, str]:
    """Return the time of every attention backend, forward and backward, and what `auto` uses."""
    dtype = DTYPES[choose_precision("auto", device)]
    shapes = {
        title: Shape(device.type, dtype, batch, length, 4, 2, 64, window, documents)
        for title, (batch, length, window, documents) in ATTENTION.items()
    }
    results: dict[str, str] = {}
    for title, shape in shapes.items():
        times = {name: _attention_ms(shape, name, device) for name in candidates(shape)}
        listed = ", ".join(f"{name} {ms or 'failed'}" for name, ms in times.items())
        results[title] = f"{by_rule(shape, trains=True)} ({listed})"
    simplest = next(iter(shapes.values()))
    for name in sorted(set(BACKENDS) - set(candidates(simplest))):
        results[name] = BACKENDS[name].unsupported_reason(simplest) or "reference, for tests"
    return results


def _attention_ms(shape: Shape, name: str, device: torch.device) -> float | None:
    """Return the fastest of three forward and backward passes in ms; None on failure."""
    heads = (shape.num_heads, shape.num_kv_heads, shape.num_kv_heads)
    documents_BT = None
    if shape.documents:
        thirds = torch.arange(shape.length, device=device) * 3 // shape.length
        documents_BT = thirds.expand(shape.batch, -1)
    times: list[float] = []
    try:
        context = BACKENDS[name].context(MaskSpec(shape.window, documents_BT), shape, device)
        q_BTHK, k_BTGK, v_BTGK = (
            torch.ones(
                (shape.batch, shape.length, count, shape.head_width),
                dtype=shape.dtype,
                device=device,
                requires_grad=True,
            )
            for count in heads
        )
        for _ in range(4):
            start = time.perf_counter()
            y_BTHK = context.attend(q_BTHK, k_BTGK, v_BTGK, shape.head_width**-0.5)
            y_BTHK.backward(torch.ones_like(y_BTHK))
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(1000 * (time.perf_counter() - start))
    except RuntimeError:  # out of memory, no kernel, or a compile error
        return None
    return round(min(times[1:]), 3)


def try_compile(device: torch.device) -> str:
    """Compile a small function; return how long it took or why it failed."""
    start = time.perf_counter()
    reason = compile_unsupported_reason(device.type)
    if reason is not None:
        return f"does not work: {reason}"
    return f"works, first call {time.perf_counter() - start:.1f} s"


def advice(report: dict[str, Any], device: torch.device) -> list[str]:
    """Return recommendations based on the measurements."""
    speeds = report["matmul (TFLOP/s)"]
    lines = []
    if isinstance(speeds["bf16"], str):
        lines.append(f"train.precision: fp32 ({speeds['bf16']})")
    else:
        precision, ratio = choose_precision("auto", device), speeds["bf16"] / speeds["fp32"]
        lines.append(f"train.precision: {precision} (bf16 products are {ratio:.1f} times as fast)")
    if report["machine"]["gpu"] == "none":
        lines.append(
            "no GPU: nano and micro train in minutes, mini in hours; larger presets need a GPU"
        )
    missing = [name for name, version in report["packages"].items() if "not installed" in version]
    if missing:
        lines.append(f"not installed, needed by some recipes only: {', '.join(missing)}")
    if "does not work" in report.get("compile", {}).get("torch.compile", ""):
        lines.append("torch.compile needs a C++ compiler (Debian, Ubuntu: apt install g++)")
    return lines
