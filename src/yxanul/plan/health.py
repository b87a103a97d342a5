"""What is installed and what works on this machine, each tried and timed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from yxanul.base.ui import Ui
from yxanul.monitor.peak import measure_matmul

PACKAGES = {
    "torch": "core",
    "numpy": "core",
    "tokenizers": "core",
    "safetensors": "core",
    "pyarrow": "core",
    "pydantic": "core",
    "typer": "core",
    "rich": "core",
    "datasets": "data",
    "zstandard": "data",
    "tensorboard": "track",
    "wandb": "track",
}
"""Packages we use, and the extra of ours that brings each."""

ATTENTION = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}


def examine(ui: Ui, *, with_compile: bool) -> dict[str, Any]:
    """Return a report in sections: machine, packages, matmul, attention, compile, advice."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with ui.task("examine", 4, "checks") as bar:
        report: dict[str, Any] = {"machine": machine(), "packages": packages()}
        bar.advance(1, "matmul")
        report["matmul (TFLOP/s)"] = matmul_speeds(device)
        bar.advance(1, "attention")
        report["attention (ms)"] = attention_times(device)
        bar.advance(1, "compile")
        if with_compile:
            report["compile"] = {"torch.compile": try_compile(device)}
        bar.advance(1)
    report["advice"] = advice(report)
    return report


def machine() -> dict[str, str]:
    """Return processor, memory and devices in words."""
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
    """Return the version of each package we use, or how to get it."""
    found: dict[str, str] = {}
    for name, extra in PACKAGES.items():
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = f"not installed (pip install 'yxanul[{extra}]')"
    return found


def matmul_speeds(device: torch.device) -> dict[str, float]:
    """Measure large matrix products in each dtype that trains well on this kind of device."""
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if device.type == "cuda":
        dtypes["fp16"] = torch.float16
    return {name: round(measure_matmul(device, d) / 1e12, 3) for name, d in dtypes.items()}


def attention_times(device: torch.device) -> dict[str, str]:
    """Time forward and backward of causal attention (4 x 8 heads x 256 x 64) in each back end."""
    shape_BHTK = (4, 8, 256, 64)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    results: dict[str, str] = {}
    for name, backend in ATTENTION.items():
        q_BHTK, k_BHTK, v_BHTK = (
            torch.randn(shape_BHTK, device=device, dtype=dtype, requires_grad=True)
            for _ in range(3)
        )

        def attend(backend=backend, qkv=(q_BHTK, k_BHTK, v_BHTK)) -> None:
            with sdpa_kernel(backend):
                scaled_dot_product_attention(*qkv, is_causal=True).sum().backward()

        results[name] = _time_or_reason(attend, device)
    return results


def try_compile(device: torch.device) -> str:
    """Compile a small function; return how long it took or why it failed."""
    compiled = torch.compile(lambda x: torch.nn.functional.silu(x) * x + 1)
    start = time.perf_counter()
    try:
        compiled(torch.randn(1024, device=device))
    except Exception as error:  # a missing compiler shows itself in many ways
        return f"does not work: {_first_line(error)}"
    return f"works, first call {time.perf_counter() - start:.1f} s"


def advice(report: dict[str, Any]) -> list[str]:
    """Say what follows from the measurements."""
    speeds = report["matmul (TFLOP/s)"]
    lines = []
    ratio = speeds["bf16"] / speeds["fp32"]
    if ratio > 1.3:
        lines.append(f"train.precision: bf16 (matrix products are {ratio:.1f} times faster)")
    else:
        lines.append(f"train.precision: fp32 (bf16 is only {ratio:.1f} times as fast)")
    if report["machine"]["gpu"] == "none":
        lines.append("no GPU: nano and micro train in minutes, mini in hours; more is not for here")
    missing = [name for name, version in report["packages"].items() if "not installed" in version]
    if missing:
        lines.append(f"not installed, needed by some recipes only: {', '.join(missing)}")
    if "does not work" in report.get("compile", {}).get("torch.compile", ""):
        lines.append("torch.compile needs a C++ compiler (Debian, Ubuntu: apt install g++)")
    return lines


def _time_or_reason(action: Callable[[], None], device: torch.device) -> str:
    import warnings

    times = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unfit back end warns before it raises
            for _ in range(5):
                start = time.perf_counter()
                action()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                times.append(time.perf_counter() - start)
    except RuntimeError as error:
        return f"not here ({_first_line(error)})"
    return f"{1000 * min(times):.2f}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
