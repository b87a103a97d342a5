"""What the stages of one run share: recipe, model, data, ledger, trackers."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from yxanul.base.errors import YxanulError
from yxanul.base.files import write_json
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.seeds import derive_seed
from yxanul.base.ui import Ui
from yxanul.checkpoint.keep import write_best
from yxanul.checkpoint.layout import checkpoint_steps
from yxanul.checkpoint.read import newest_intact, read_checkpoint
from yxanul.data.batches import Feed
from yxanul.data.manifest import Split, read_manifest
from yxanul.data.mix import MixCursor
from yxanul.data.order import Parts, SourceOrder
from yxanul.data.shards import Shards
from yxanul.model.language_model import LanguageModel
from yxanul.monitor.alerts import Watch
from yxanul.monitor.metrics import StepRecorder
from yxanul.monitor.peak import matmul_peak
from yxanul.monitor.trackers import Tracker, open_trackers
from yxanul.optim.ema import Ema
from yxanul.recipe import Recipe
from yxanul.stages.corpus import Sample, draw_sample, open_shards, used_sources
from yxanul.stages.environment import describe_environment
from yxanul.stages.ledger import Ledger
from yxanul.stages.preparation import Preparation
from yxanul.tokenizer.tokenizer import Tokenizer
from yxanul.train.engine import make_engine
from yxanul.train.precision.twin import DTYPES, Twin, choose_device, choose_precision
from yxanul.train.progress import Progress

BEST_METRIC = "val/bits_per_byte"
"""What decides which checkpoint of a stage is the best: the mean over its domains."""


@dataclass
class Saved:
    """What the newest intact checkpoint holds."""

    progress: Progress
    optimizer: dict[str, torch.Tensor]
    optimizer_state: dict[str, Any]
    recorder: dict[str, Any]
    watch: dict[str, Any]
    ema: dict[str, torch.Tensor] | None
    ema_updates: int


@dataclass
class Session:
    """The parts of a run that outlive a stage."""

    run: RunFolder
    recipe: Recipe
    ui: Ui
    stop: StopRequest
    tokenizer: Tokenizer
    twin: Twin
    feed: Feed
    held_out: dict[str, Shards]
    samples: dict[str, Sample]
    """What of `held_out` is scored during training."""
    train_tokens: dict[str, int]
    ledger: Ledger
    device: torch.device
    tracker: Tracker
    recorder: StepRecorder
    watch: Watch
    saved: Saved | None
    progress: Progress
    preparation: Preparation | None = None
    ema: Ema | None = None

    def begin_stage(self, name: str) -> None:
        """Enter the next stage: it begins from the weights that the last gate judged."""
        self.progress = self.progress.in_stage(name)
        if self.ema is not None:
            self.ema.adopt()
            self.twin.refresh()

    def shown(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which the model has the weights that are judged and given away."""
        if self.ema is None:
            return contextlib.nullcontext()
        return self.ema.in_place(self.twin.refresh)

    def wait_for_all_text(self) -> None:
        """Wait until all text is encoded, where training began before it was."""
        if self.preparation is not None:
            self.preparation.finish()
            self.preparation = None
            self.held_out = open_shards(
                self.run, self.recipe, "validation", self.tokenizer, self.ui
            )
            self.train_tokens = _train_tokens(self.run, self.recipe)


def open_session(
    run: RunFolder,
    recipe: Recipe,
    ui: Ui,
    stop: StopRequest,
    preparation: Preparation | None = None,
) -> Session:
    """Open a prepared run: build its model, or load the newest intact checkpoint.

    Where `preparation` is still at work, the session holds the held-out text that is there.
    """
    if not run.tokenizer.exists():
        raise YxanulError(f"{run.path} has no tokenizer yet", hint="run `yxanul prepare` first")
    tokenizer = Tokenizer.load(run.tokenizer)

    def opened(split: Split) -> dict[str, Shards]:
        return open_shards(run, recipe, split, tokenizer, ui)

    shards = (preparation.shards if preparation else opened)("train")
    held_out = preparation.first_held_out() if preparation else opened("validation")
    ledger, device = Ledger.open(run.ledger), choose_device(recipe.train.device)
    precision = _decide_precision(ledger, recipe, device)
    peak = matmul_peak(device, DTYPES[precision])
    write_json(run.environment, describe_environment() | {"peak_flops": peak._asdict()})
    model = LanguageModel(recipe.model.resolved(tokenizer.vocab_size))
    model.init_weights(torch.Generator().manual_seed(derive_seed(recipe.seed, "weights")))
    saved = _load_newest(run, model, ui)
    session = Session(
        run=run,
        recipe=recipe,
        ui=ui,
        stop=stop,
        tokenizer=tokenizer,
        twin=make_engine(model.to(device), recipe.train, precision, ui),
        feed=Feed(_orders(shards, recipe)),
        held_out=held_out,
        samples={name: draw_sample(one, recipe) for name, one in held_out.items()},
        train_tokens={} if preparation else _train_tokens(run, recipe),
        ledger=ledger,
        device=device,
        tracker=open_trackers(recipe.monitor.trackers, run),
        recorder=StepRecorder(peak.flops_per_second, device.type),
        watch=Watch(),
        saved=saved,
        progress=saved.progress if saved else Progress("", 0, 0, 0, MixCursor()),
        preparation=preparation,
    )
    _go_on_from(session)
    return session


def _orders(shards: Mapping[str, Parts], recipe: Recipe) -> dict[str, SourceOrder]:
    tokens = recipe.data.shuffle_tokens
    return {name: SourceOrder(one, recipe.seed, tokens) for name, one in shards.items()}


def _train_tokens(run: RunFolder, recipe: Recipe) -> dict[str, int]:
    folder = run.data(recipe.data.folder)
    manifests = {name: read_manifest(folder / name) for name in used_sources(recipe)}
    return {name: manifest.splits["train"].tokens for name, manifest in manifests.items()}


def _go_on_from(session: Session) -> None:
    """Bring all that records a run back to where the checkpoint was written."""
    ema = session.recipe.optim.ema
    if ema is not None:
        session.ema = Ema(session.twin.master.named_parameters(), ema.decay)
    if session.saved is None:
        session.tracker.rewind(0)
        return
    best, steps = session.saved.progress.best, checkpoint_steps(session.run.checkpoints)
    if best is not None and best.step in steps:  # it may have died between checkpoint and this
        write_best(session.run.path, best.step, BEST_METRIC, best.value)
    if session.ema is not None and session.saved.ema is not None:
        session.ema.load(session.saved.ema, session.saved.ema_updates)
    session.recorder.load(session.saved.recorder)
    session.watch.load(session.saved.watch)
    session.tracker.rewind(session.saved.progress.step)


def _decide_precision(ledger: Ledger, recipe: Recipe, device: torch.device) -> str:
    """Return the precision; what `auto` came to on this machine is decided once a run."""
    asked = recipe.train.precision
    if ledger.decisions.get("asked_precision") != asked:
        precision = choose_precision(asked, device)
        ledger.decisions |= {"asked_precision": asked, "precision": precision}
        ledger.write()
    return ledger.decisions["precision"]


def _load_newest(run: RunFolder, model: LanguageModel, ui: Ui) -> Saved | None:
    path, damaged = newest_intact(run.checkpoints)
    for reason in damaged:
        ui.warn(f"{reason}; going back to the checkpoint before")
    if path is None and damaged:
        raise YxanulError(
            f"no checkpoint in {run.checkpoints} is intact",
            hint=f"delete it and {run.ledger.name} to begin anew",
        )
    if path is None:
        return None
    tensors, state = read_checkpoint(path)
    model.load_state_dict(tensors["model"])
    progress = Progress.from_dict(state["progress"])
    ui.say(f"going on from {path.name} (stage '{progress.stage}', step {progress.stage_step})")
    return Saved(
        progress,
        tensors["optimizer"],
        state["optimizer"],
        state["recorder"],
        state["watch"],
        tensors.get("ema"),
        state.get("ema_updates", 0),
    )
