"""What the settings say about the computation reaches the model."""

import pytest
import torch

from sessions import RecordingUi
from yxanul.base.ui import SilentUi
from yxanul.model.config import ModelSettings
from yxanul.model.language_model import LanguageModel
from yxanul.train import engine
from yxanul.train.config import TrainSettings


@pytest.fixture
def model():
    model = LanguageModel(ModelSettings(width=16, depth=1, num_heads=2, vocab_size=40))
    model.init_weights(torch.Generator().manual_seed(0))
    return model


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_cpu_computes_op_by_op_unless_told_otherwise(model, precision):
    settings = TrainSettings(attention="reference")
    mixed_precision = engine.make_mixed_precision(model, settings, precision, SilentUi())
    assert (
        mixed_precision.model.attention_backend == "reference"
        and not mixed_precision.model.compiles
    )


def test_compiling_is_a_wish_that_falls_back_with_a_line(model, monkeypatch):
    monkeypatch.setattr(engine, "compile_unsupported_reason", lambda _: None)
    ui = RecordingUi()
    mixed_precision = engine.make_mixed_precision(model, TrainSettings(compile=True), "bf16", ui)
    assert mixed_precision.model.compiles and not ui.warnings
    monkeypatch.setattr(engine, "compile_unsupported_reason", lambda _: "no g++")
    mixed_precision = engine.make_mixed_precision(model, TrainSettings(compile=True), "fp32", ui)
    assert len(ui.warnings) == 1 and "no g++" in ui.warnings[0]
