"""Peak matrix-product FLOP/s of a device, for MFU: from vendors' data sheets, or measured.

Figures are dense (no sparsity) with fp32 accumulation.
"""

from __future__ import annotations

import functools
import platform
import re
import time
from typing import Literal, NamedTuple

import torch

MEASURED_SECONDS = 0.04
"""Duration of a measurement: fp32 and bf16, with a warm-up each, take less than 0.2 s."""
GPU_SIZE, CPU_SIZE = 8192, 1024


class Peak(NamedTuple):
    """Peak FLOP/s, and whether it is from the table or measured."""

    flops_per_second: float
    source: Literal["table", "measured"]


class Sheet(NamedTuple):
    """Data-sheet TFLOP/s of a GPU; None if a dtype is not supported."""

    fp32: float
    tf32: float | None
    fp16: float | None
    bf16: float | None
    fp8: float | None = None


GPUS: dict[str, Sheet] = {
    # Data center, NVIDIA data sheets (sparse figures are halved).
    "v100": Sheet(15.7, None, 125, None),
    "v100 pcie": Sheet(14, None, 112, None),
    "t4": Sheet(8.1, None, 65, None),
    "a100": Sheet(19.5, 156, 312, 312),
    "a100 pcie": Sheet(19.5, 156, 312, 312),
    "a800": Sheet(19.5, 156, 312, 312),
    "a30": Sheet(10.3, 82, 165, 165),
    "a40": Sheet(37.4, 74.8, 149.7, 149.7),
    "a10": Sheet(31.2, 62.5, 125, 125),
    "l4": Sheet(30.3, 60, 121, 121, 242),
    "l40": Sheet(90.5, 90.5, 181, 181, 362),
    "l40s": Sheet(91.6, 183, 362, 362, 733),
    "h100": Sheet(67, 494.7, 989.4, 989.4, 1978.9),
    "h100 pcie": Sheet(51, 378, 756, 756, 1513),
    "h100 nvl": Sheet(60, 417.5, 835.5, 835.5, 1671),
    "h800": Sheet(67, 494.7, 989.4, 989.4, 1978.9),
    "h20": Sheet(44, 74, 148, 148, 296),
    "h200": Sheet(67, 494.7, 989.4, 989.4, 1978.9),
    "h200 nvl": Sheet(60, 417.5, 835.5, 835.5, 1671),
    "gh200": Sheet(67, 494.7, 989.4, 989.4, 1978.9),
    "b200": Sheet(75, 1125, 2250, 2250, 4500),
    "gb200": Sheet(80, 1250, 2500, 2500, 5000),
    # Workstations and desktops, NVIDIA architecture white papers (fp32 accumulation).
    "rtx a6000": Sheet(38.7, 77.4, 154.8, 154.8),
    "rtx 6000 ada generation": Sheet(91.1, 182.1, 364.2, 364.2, 728.5),
    "rtx 3090": Sheet(35.6, 35.6, 71, 71),
    "rtx 3090 ti": Sheet(40, 40, 80, 80),
    "rtx 4080": Sheet(48.7, 48.7, 97.5, 97.5, 194.9),
    "rtx 4090": Sheet(82.6, 82.6, 165.2, 165.2, 330.3),
    "rtx 5090": Sheet(104.8, 104.8, 209.5, 209.5, 419),
    # AMD data sheet.
    "mi300x": Sheet(163.4, 653.7, 1307.4, 1307.4, 2614.9),
}
"""Data sheets by `short_name` of the name that torch reports."""

_NOISE = re.compile(r"nvidia|tesla|geforce|amd|instinct|sxm\d*|\d+gb|hbm\d\w?")
_FIELDS = {
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float8_e4m3fn: "fp8",
    torch.float8_e5m2: "fp8",
}


def matmul_peak(device: torch.device | str, dtype: torch.dtype) -> Peak:
    """Return the peak of matrix products in `dtype`, measured on a CPU or unlisted GPU."""
    device = torch.device(device)
    if device.type == "cuda":
        listed = listed_peak(torch.cuda.get_device_name(device), dtype)
        if listed is not None:
            return Peak(listed, "table")
    return Peak(measure_matmul(device, dtype), "measured")


def short_name(name: str) -> str:
    """Return a GPU's name without vendor, form factor and memory: NVIDIA A100-SXM4-80GB is a100."""
    words = re.split(r"[\s-]+", name.lower())
    return " ".join(word for word in words if word and not _NOISE.fullmatch(word))


def listed_peak(name: str, dtype: torch.dtype) -> float | None:
    """Return the listed FLOP/s for a GPU's name, or None.

    The full name must match, since similar names are different GPUs: a laptop RTX 4090 is not an
    RTX 4090. fp32 means TF32 if torch is set to use it.
    """
    sheet = GPUS.get(short_name(name))
    if sheet is None or dtype not in _FIELDS:
        return None
    field = _FIELDS[dtype]
    if field == "fp32" and torch.get_float32_matmul_precision() != "highest":
        field = "tf32" if sheet.tf32 is not None else "fp32"
    teraflops = getattr(sheet, field)
    return None if teraflops is None else teraflops * 1e12


def has_bf16_units(device: torch.device) -> bool:
    """Return whether a device has bf16 hardware; without it, a product takes 100 times as long.

    On x86 the processor must have the units and oneDNN must use them (ONEDNN_MAX_CPU_ISA masks
    some); on other CPUs oneDNN's answer is used.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if not torch.backends.mkldnn.is_available():
        return False
    in_processor = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return torch.ops.mkldnn._is_mkldnn_bf16_supported() and (in_processor or not is_x86)


@functools.cache
def measure_matmul(device: torch.device | str, dtype: torch.dtype) -> float:
    """Return the best FLOP/s of several large square matrix products; cached."""
    device = torch.device(device)
    size = GPU_SIZE if device.type == "cuda" else CPU_SIZE
    has_bf16 = dtype == torch.bfloat16 and has_bf16_units(device)
    if device.type == "cpu" and dtype != torch.float32 and not has_bf16:
        size //= 4  # emulated: a large product would take seconds
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(size, size, generator=generator).to(device, dtype)
    out = left @ left
    best = float("inf")
    deadline = time.perf_counter() + MEASURED_SECONDS
    while time.perf_counter() < deadline or best == float("inf"):
        start = time.perf_counter()
        torch.mm(left, left, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
