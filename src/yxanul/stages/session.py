"""What the stages of one run share: recipe, model, data, ledger, trackers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.startup import Startup
from yxanul.base.ui import Ui
from yxanul.checkpoint.background import CheckpointWriter
from yxanul.data.batches import Feed
from yxanul.data.manifest import read_manifest
from yxanul.data.shards import Shards
from yxanul.model.config import ModelSettings
from yxanul.monitor.alerts import Watch
from yxanul.monitor.metrics import StepRecorder
from yxanul.monitor.trackers import Tracker
from yxanul.recipe import Recipe
from yxanul.stages.corpus import Sample, open_shards, used_sources
from yxanul.stages.ledger import Ledger
from yxanul.stages.preparation import Preparation
from yxanul.tokenizer.tokenizer import Tokenizer
from yxanul.train.engine import Engine, Moments
from yxanul.train.parallel.world import World
from yxanul.train.progress import Progress


@dataclass
class Saved:
    """What the newest intact checkpoint holds."""

    progress: Progress
    moments: Moments
    recorder: dict[str, Any]
    watch: dict[str, Any]
    ema: dict[str, torch.Tensor] | None
    ema_updates: int
    loss_scale: dict[str, Any] | None


@dataclass
class Session:
    """The parts of a run that outlive a stage."""

    run: RunFolder
    recipe: Recipe
    ui: Ui
    stop: StopRequest
    tokenizer: Tokenizer
    engine: Engine
    feed: Feed
    held_out: dict[str, Shards]
    samples: dict[str, Sample]
    """What of `held_out` is scored during training."""
    train_tokens: dict[str, int]
    ledger: Ledger
    tracker: Tracker
    recorder: StepRecorder
    watch: Watch
    saved: Saved | None
    progress: Progress
    peak_flops: float
    """Matrix products of one process, in FLOP/s."""
    writer: CheckpointWriter
    preparation: Preparation | None = None
    startup: Startup = field(default_factory=Startup)
    stop_after: int | None = None
    """Save and stop after this step of the run, as a signal would."""

    def close(self) -> None:
        """Write out what is pending."""
        try:
            self.writer.close()
        finally:
            self.tracker.close()

    def begin_stage(self, name: str) -> None:
        """Enter the next stage: it begins from the weights that the last gate judged, the mean
        where there is one."""
        self.progress = self.progress.in_stage(name)
        self.engine.adopt_mean()

    @property
    def world(self) -> World:
        """The processes that train together."""
        return self.engine.world

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.engine.device

    @property
    def model_settings(self) -> ModelSettings:
        """The model's shape, its vocabulary known."""
        return self.engine.twin.master.settings

    def stop_if_asked(self, what: str, hint: str) -> None:
        """Raise `Interrupted` in all processes if one of them was told to stop."""
        self.stop.pass_on(self.world.any(self.stop.signal_number is not None))
        self.stop.raise_if_asked(what, hint)

    def wait_for_all_text(self) -> None:
        """Wait until all text is encoded, where training began before it was."""
        if self.preparation is not None:
            self.preparation.finish()
            self.preparation = None
            self.held_out = open_shards(
                self.run, self.recipe, "validation", self.tokenizer, self.ui
            )
            self.train_tokens = train_tokens(self.run, self.recipe)


def train_tokens(run: RunFolder, recipe: Recipe) -> dict[str, int]:
    """Return the tokens of each source that is trained on; all text must be encoded."""
    folder = run.data(recipe.data.folder)
    manifests = {name: read_manifest(folder / name) for name in used_sources(recipe)}
    return {name: manifest.splits["train"].tokens for name, manifest in manifests.items()}
