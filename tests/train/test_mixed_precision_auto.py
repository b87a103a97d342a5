"""What `precision: auto` tries, chooses and says."""

import json
from importlib.util import find_spec

import pytest
import torch

from yxanul.model.config import ModelSettings
from yxanul.monitor.peak_flops import GPUS
from yxanul.train.config import TrainSettings
from yxanul.train.mixed_precision import decide, fp8

CPU = torch.device("cpu")
MODEL = ModelSettings(preset="yxanul-270m")


@pytest.fixture
def ada(monkeypatch):
    """A device with fp8, bf16 and torchao."""
    monkeypatch.setattr(decide, "has_fp8", lambda device: True)
    monkeypatch.setattr(
        decide, "choose_precision", lambda name, _: {"auto": "bf16"}.get(name, name)
    )
    monkeypatch.setattr(decide, "is_installed", lambda engine: engine != "none")


def candidates(model=MODEL, **fields):
    return decide.precision_candidates(TrainSettings(**fields), model, CPU)


def test_fp8_is_tried_where_everything_allows_it(ada):
    assert candidates() == ["bf16", "fp8"]
    assert candidates(fp8={"engine": "transformer_engine"}) == ["bf16", "fp8"]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "fp8"])
def test_what_is_asked_for_is_not_measured(ada, precision):
    assert candidates(precision=precision) == [precision]


def test_fp8_is_not_tried_where_anything_is_against_it(ada, monkeypatch):
    assert candidates(MODEL.model_copy(update={"ffn_width": 1000})) == ["bf16"]
    assert candidates(fp8={"engine": "none"}) == ["bf16"]
    for name, answer in (
        ("has_fp8", False), ("is_installed", False), ("choose_precision", "fp32")
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(decide, name, lambda *_, answer=answer: answer)
            assert candidates() == ["fp32" if answer == "fp32" else "bf16"]


def test_a_cpu_has_none():
    assert not fp8.has_fp8(CPU)
    assert len(candidates()) == 1


@pytest.mark.parametrize(
    ("capability", "hip", "has"),
    [
        ((8, 0), None, False), ((8, 6), None, False), ((8, 9), None, True), ((9, 0), None, True),
        ((12, 0), None, True), ((9, 0), "6.2", False), ((9, 4), "6.2", True),
    ],
)  # fmt: skip
def test_which_gpus_have_fp8(monkeypatch, capability, hip, has):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.version, "hip", hip)
    assert fp8.has_fp8(torch.device("cuda")) == has


def test_whether_an_engine_is_there():
    assert fp8.is_installed("torchao") == (find_spec("torchao") is not None)
    assert not fp8.is_installed("none")


@pytest.mark.parametrize(
    ("narrow", "chosen", "line"),
    [
        (0.0121, "bf16", "fp8 declined: 1.03x the speed of bf16 (12.1 ms vs 12.5 ms)"),
        (0.0250, "bf16", "fp8 declined: 0.50x the speed of bf16 (25.0 ms vs 12.5 ms)"),
        (0.0120, "bf16", "fp8 declined: 1.04x the speed of bf16 (12.0 ms vs 12.5 ms)"),
        (0.0119, "fp8", "fp8 chosen: 1.05x the speed of bf16 (11.9 ms vs 12.5 ms)"),
        (0.0100, "fp8", "fp8 chosen: 1.25x the speed of bf16 (10.0 ms vs 12.5 ms)"),
    ],
)
def test_fp8_has_to_be_a_twentieth_faster(narrow, chosen, line):
    seconds = {"bf16": 0.0125, "fp8": narrow}
    decision = decide.measure_precisions(["bf16", "fp8"], seconds.__getitem__)
    assert (decision.precision, decision.line, decision.seconds) == (chosen, line, seconds)
    plain = {"precision": chosen, "seconds": seconds, "line": line}
    assert json.loads(json.dumps(decision.to_dict())) == plain


def test_one_candidate_is_not_measured():
    decision = decide.measure_precisions(["fp32"], lambda name: pytest.fail(name))
    assert decision.to_dict() == {"precision": "fp32", "seconds": {}, "line": ""}


def test_fp8_that_fails_is_declined_and_bf16_that_fails_is_an_error():
    def seconds_of(name):
        if name == "fp8":
            raise RuntimeError("no kernel for this\nand a long tale")
        return 0.1

    decision = decide.measure_precisions(["bf16", "fp8"], seconds_of)
    assert decision.precision == "bf16"
    assert decision.line.startswith("fp8 declined: ") and "no kernel for this" in decision.line
    with pytest.raises(RuntimeError):
        decide.measure_precisions(["fp8", "bf16"], seconds_of)


def test_what_is_slow_here_is_said(monkeypatch):
    assert "emulated" in decide.caveat("fp8", CPU)
    assert "slow on a CPU" in decide.caveat("fp16", CPU)
    gpu = torch.device("cuda")
    monkeypatch.setattr(decide, "has_fp8", lambda device: False)
    assert "emulated" in decide.caveat("fp8", gpu)
    monkeypatch.setattr(decide, "has_fp8", lambda device: True)
    assert [decide.caveat(name, gpu) for name in ("fp8", "fp16", "bf16")] == [None] * 3
    assert decide.caveat("bf16", CPU) is decide.caveat("fp32", CPU) is None


def test_the_peak_that_utilisation_is_measured_by(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(decide, "has_fp8", lambda device: True)
    gpu, sheet = torch.device("cuda"), GPUS["h100"]
    assert decide.precision_peak(gpu, "fp8") == (sheet.fp8 * 1e12, "table")
    assert decide.precision_peak(gpu, "bf16") == (sheet.bf16 * 1e12, "table")
    monkeypatch.setattr(decide, "has_fp8", lambda device: False)
    assert decide.precision_peak(gpu, "fp8") == (sheet.bf16 * 1e12, "table")
