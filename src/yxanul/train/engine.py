"""How the steps are computed: precision, attention back end, compiled or not."""

from __future__ import annotations

from yxanul.base.memory import keep_freed_memory
from yxanul.base.ui import Ui
from yxanul.model.compiler import reason_against_compiling
from yxanul.model.language_model import LanguageModel
from yxanul.train.config import TrainSettings
from yxanul.train.precision.twin import Twin


def make_engine(model: LanguageModel, settings: TrainSettings, precision: str, ui: Ui) -> Twin:
    """Return the model with its twin, set up as the settings and its device ask for."""
    twin = Twin(model, precision)
    device = model.embedding.tokens.device.type
    twin.model.attention_backend = settings.attention
    if device == "cpu":
        keep_freed_memory()
    if settings.compile is True or (settings.compile == "auto" and device == "cuda"):
        reason = reason_against_compiling(device)
        if reason is None:
            twin.model.compile_blocks()
        else:
            ui.warn(f"training goes on without torch.compile, which does not work here: {reason}")
    return twin
