import pytest
import torch

from yxanul.monitor import peak_flops
from yxanul.monitor.peak_flops import GPUS, listed_peak, matmul_peak, measure_matmul, short_name
from yxanul.train.mixed_precision import weights

NAMES = {
    "NVIDIA A100-SXM4-80GB": "a100",
    "NVIDIA A100-PCIE-40GB": "a100 pcie",
    "NVIDIA A100 80GB PCIe": "a100 pcie",
    "NVIDIA H100 80GB HBM3": "h100",
    "NVIDIA H100 PCIe": "h100 pcie",
    "NVIDIA H100 NVL": "h100 nvl",
    "NVIDIA H200": "h200",
    "NVIDIA H200 NVL": "h200 nvl",
    "NVIDIA GH200 480GB": "gh200",
    "NVIDIA B200": "b200",
    "NVIDIA L4": "l4",
    "NVIDIA L40S": "l40s",
    "NVIDIA A10": "a10",
    "Tesla T4": "t4",
    "Tesla V100-SXM2-16GB": "v100",
    "Tesla V100-PCIE-32GB": "v100 pcie",
    "NVIDIA GeForce RTX 3090": "rtx 3090",
    "NVIDIA GeForce RTX 3090 Ti": "rtx 3090 ti",
    "NVIDIA GeForce RTX 4090": "rtx 4090",
    "NVIDIA GeForce RTX 5090": "rtx 5090",
    "NVIDIA RTX A6000": "rtx a6000",
    "NVIDIA RTX 6000 Ada Generation": "rtx 6000 ada generation",
    "AMD Instinct MI300X": "mi300x",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_torch_reports_are_found(name):
    assert short_name(name) == NAMES[name] and NAMES[name] in GPUS


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA A10G",
        "NVIDIA H200 MIG 1g.18gb",
        "NVIDIA A100X",
        "Quadro RTX 6000",
        "",
    ],
)
def test_no_other_gpus_peak_is_used(name):
    assert listed_peak(name, torch.bfloat16) is None


def test_figures_by_dtype():
    assert listed_peak("NVIDIA H200", torch.bfloat16) == 989.4e12
    assert listed_peak("NVIDIA H200", torch.float16) == 989.4e12
    assert listed_peak("NVIDIA H200", torch.float8_e4m3fn) == 1978.9e12
    assert listed_peak("NVIDIA H200", torch.float32) == 67e12
    assert listed_peak("Tesla V100-SXM2-16GB", torch.bfloat16) is None
    assert listed_peak("NVIDIA H200", torch.float64) is None


def test_fp32_is_tf32_where_torch_was_told_so(monkeypatch):
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert listed_peak("NVIDIA A100-SXM4-80GB", torch.float32) == 156e12
    assert listed_peak("Tesla T4", torch.float32) == 8.1e12


@pytest.mark.parametrize("name", GPUS)
def test_every_sheet_is_in_order(name):
    """Narrower numbers are never slower; a sparse figure by mistake would double the step."""
    sheet = GPUS[name]
    assert name == short_name(name)
    assert sheet.bf16 in (None, sheet.fp16)
    assert sheet.fp32 <= (sheet.tf32 or sheet.fp32) <= (sheet.fp16 or 0)
    if sheet.fp8 is not None:
        assert sheet.fp8 == pytest.approx(2 * (sheet.fp16 or 0), rel=0.02)


def test_a_known_gpu_is_looked_up(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA L4")
    assert matmul_peak("cuda", torch.bfloat16) == (121e12, "table")


def test_an_unknown_gpu_is_measured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA X1")
    monkeypatch.setattr(peak_flops, "measure_matmul", lambda device, dtype: 5.0)
    assert matmul_peak("cuda", torch.bfloat16) == (5.0, "measured")


def test_a_cpu_is_measured(monkeypatch):
    monkeypatch.setattr(peak_flops, "MEASURED_SECONDS", 0.05)
    monkeypatch.setattr(peak_flops, "CPU_SIZE", 256)
    flops, source = matmul_peak("cpu", torch.float32)
    assert source == "measured" and 1e8 < flops < 1e14


def test_measuring_ends_even_when_one_product_takes_too_long(monkeypatch):
    monkeypatch.setattr(peak_flops, "MEASURED_SECONDS", 0.0)
    monkeypatch.setattr(peak_flops, "CPU_SIZE", 64)
    assert measure_matmul("cpu", torch.float32) > 0


@pytest.mark.parametrize(
    ("machine", "processor", "onednn", "has"),
    [
        ("x86_64", True, True, True),
        ("x86_64", True, False, False),  # masked by the environment
        ("x86_64", False, True, False),  # oneDNN would emulate them with AVX-512
        ("AMD64", False, True, False),
        ("aarch64", False, True, True),
        ("aarch64", False, False, False),
    ],
)
def test_bf16_units_are_those_of_the_processor_that_onednn_uses(
    monkeypatch, machine, processor, onednn, has
):
    monkeypatch.setattr(peak_flops.platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: processor)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
    assert peak_flops.has_bf16_units(torch.device("cpu")) is has


def test_arithmetic_without_units_is_never_measured(monkeypatch):
    monkeypatch.setattr(weights, "has_bf16_units", lambda device: False)
    monkeypatch.setattr(peak_flops, "measure_matmul", lambda *_: pytest.fail("measured"))
    assert weights.choose_precision("auto", torch.device("cpu")) == "fp32"
