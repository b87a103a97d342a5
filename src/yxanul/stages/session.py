"""Session: the state that all stages of a run share (model, data, ledger, metrics)."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yxanul.base.clock import Startup
from yxanul.base.errors import YxanulError
from yxanul.base.files import write_json
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.seeds import derive_seed
from yxanul.base.ui import Ui
from yxanul.bundle import open_bundle
from yxanul.checkpoint.background import CheckpointWriter
from yxanul.checkpoint.keep import write_best
from yxanul.checkpoint.layout import checkpoint_path, checkpoint_steps
from yxanul.checkpoint.read import (
    CheckpointDamaged,
    newest_intact,
    read_checkpoint,
    verify_checkpoint,
)
from yxanul.data.batches import BatchLoader
from yxanul.data.mix import MixCursor
from yxanul.model.config import ModelSettings, free_settings
from yxanul.model.language_model import LanguageModel
from yxanul.monitor.alerts import Alert, AlertMonitor
from yxanul.monitor.metrics import StepRecorder
from yxanul.monitor.peak_flops import Peak
from yxanul.monitor.trackers import Tracker, open_trackers
from yxanul.recipe import Recipe
from yxanul.stages.data import (
    AGAIN,
    Preparation,
    RunData,
    initial_folder,
    other_tokenizer,
)
from yxanul.stages.ledger import Ledger
from yxanul.stages.measure import decide_precision, decide_threads, describe_environment
from yxanul.tokenizer.tokenizer import Tokenizer
from yxanul.train.engine import Engine, OptimizerState
from yxanul.train.mixed_precision.decide import caveat, precision_peak
from yxanul.train.mixed_precision.weights import LossScale, choose_device
from yxanul.train.parallel.strategies import EngineSpec, make_engine
from yxanul.train.parallel.world import World
from yxanul.train.progress import Progress
from yxanul.train.trainer import Changes


@dataclass
class Saved:
    """Contents of the newest intact checkpoint."""

    progress: Progress
    optimizer_state: OptimizerState
    ema: dict[str, torch.Tensor] | None
    state: dict[str, Any]
    """All that `CheckpointSaver` has written besides tensors."""


@dataclass
class Session:
    """State of a run that outlives a stage."""

    run: RunFolder
    recipe: Recipe
    ui: Ui
    stop: StopRequest
    data: RunData
    engine: Engine
    loader: BatchLoader
    ledger: Ledger
    tracker: Tracker
    recorder: StepRecorder
    alerts: AlertMonitor
    progress: Progress
    """Position in the run, the stage and every data stream."""
    optimizer_state: OptimizerState | None
    """Optimizer state from the loaded checkpoint, until a trainer takes it."""
    peak_flops: float
    """Peak matmul throughput of one process, in FLOP/s."""
    writer: CheckpointWriter
    startup: Startup
    rollback_steps: list[int]
    """Steps of the stage's checkpoints that a rollback may return to: not those that only a stop
    has written, as a run has to be the same without the stop."""

    def close(self) -> None:
        """Flush pending checkpoints and metrics."""
        try:
            self.writer.close()
        finally:
            self.tracker.close()

    def start_stage(self, name: str) -> None:
        """Enter the next stage, starting from the weights the last gate scored (EMA if enabled)."""
        self.progress = self.progress.in_stage(name)
        self.rollback_steps.clear()
        self.engine.load_ema_into_weights()

    @property
    def world(self) -> World:
        """The processes (ranks) of the run."""
        return self.engine.world

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.engine.device

    def log(self, step: int, metrics: Mapping[str, float]) -> Changes:
        """Send metrics to the trackers, record and show alerts; return what their actions ask for.

        Only rank 0 sees alerts: the others have other times and rows.
        """
        self.tracker.log(step, metrics)
        changes = Changes()
        for alert in self.alerts.check(step, metrics) if self.world.is_main else ():
            self.tracker.alert(alert)
            told = str(alert.of_run(self.run.path))
            self.ui.warn(told)
            match self.recipe.monitor.alerts.action(alert.name):
                case "stop":
                    changes = replace(changes, stop=told)
                case "rollback" if (target := self._rollback_target(alert)) is not None:
                    changes = replace(changes, rollback=(alert.name, target))
                case "rollback":
                    self.ui.warn(
                        f"no rollback for {alert.name}: the stage has no checkpoint from before it;"
                        " lower train.checkpoint.every_steps"
                    )
        return changes

    def add_rollback_step(self, step: int) -> None:
        """Add a checkpoint to those that a rollback may return to: as many as are kept, and the
        last one before a spike from which the loss has not returned."""
        spike = self.alerts.spike_step
        before = [one for one in self.rollback_steps if spike is not None and one < spike]
        newest = [*self.rollback_steps, step][-self.recipe.train.checkpoint.keep :]
        self.rollback_steps[:] = sorted({*before[-1:], *newest})

    def _rollback_target(self, alert: Alert) -> int | None:
        """Return the step of the newest intact checkpoint from before what an alert has seen."""
        self.writer.wait()
        for step in reversed(self.rollback_steps):
            with contextlib.suppress(CheckpointDamaged):
                if step < alert.since:
                    verify_checkpoint(checkpoint_path(self.run.checkpoints, step))
                    return step
        return None

    def stop_if_asked(self, what: str, hint: str) -> None:
        """Raise `Interrupted` on all ranks if one of them received a stop signal."""
        self.stop.pass_on(self.world.any(self.stop.signal_number is not None))
        self.stop.raise_if_asked(what, hint)


def build_session(
    run: RunFolder,
    recipe: Recipe,
    ui: Ui,
    stop: StopRequest,
    preparation: Preparation | None = None,
    world: World | None = None,
    startup: Startup | None = None,
) -> Session:
    """Open a prepared run: build its model, or load the newest intact checkpoint.

    While `preparation` is running, the session uses the text encoded so far. All ranks of `world`
    open the run; only rank 0 writes files.
    """
    world = world or World()
    data = RunData(run, recipe, ui, preparation)
    ledger = Ledger.open(run.ledger, writes=world.is_main)
    world.barrier()  # rank 0 writes only after all ranks have read the ledger
    model, saved = _weights(run, recipe, data.tokenizer, ledger, world, ui)
    engine, peak = _engine(model, recipe, ledger, world, ui)
    if world.is_main:
        about = {"peak_flops": peak._asdict(), "devices": world.size}
        write_json(run.environment, describe_environment() | about)
    session = Session(
        run=run,
        recipe=recipe,
        ui=ui,
        stop=stop,
        data=data,
        engine=engine,
        loader=BatchLoader(data.orders),
        ledger=ledger,
        tracker=open_trackers(recipe.monitor.trackers if world.is_main else (), run, ui),
        recorder=StepRecorder(peak.flops_per_second * world.size, engine.device.type),
        alerts=AlertMonitor(recipe.monitor, _held_out(data)),
        progress=saved.progress if saved else Progress("", 0, 0, 0, MixCursor()),
        optimizer_state=saved.optimizer_state if saved else None,
        peak_flops=peak.flops_per_second,
        writer=CheckpointWriter(run.checkpoints, background=recipe.train.checkpoint.background),
        startup=startup or Startup(),
        rollback_steps=saved.state.get("rollback_steps", []) if saved else [],
    )
    if saved is None:
        session.tracker.rewind(0)
    else:
        _restore(session, saved)
    return session


def _weights(
    run: RunFolder, recipe: Recipe, tokenizer: Tokenizer, ledger: Ledger, world: World, ui: Ui
) -> tuple[LanguageModel, Saved | None]:
    """Return the model on its device with weights from the newest checkpoint, else from
    `model.init_from`, else random."""
    model = LanguageModel(recipe.model.resolved(tokenizer.vocab_size))
    saved = _load_newest(run, model, ui)
    if saved is None and recipe.model.init_from is not None:
        load_initial(model, recipe, tokenizer, ledger, world, ui)
    elif saved is None:
        model.init_weights(torch.Generator().manual_seed(derive_seed(recipe.seed, "weights")))
    return model.to(choose_device(recipe.train.device)), saved


def _engine(
    model: LanguageModel, recipe: Recipe, ledger: Ledger, world: World, ui: Ui
) -> tuple[Engine, Peak]:
    """Return the engine in the chosen precision, and the peak throughput that MFU refers to."""
    device = model.embedding.tokens.device
    decide_threads(ledger, device, world.size, ui)
    precision = world.broadcast(decide_precision(ledger, recipe, model, world.size, ui))
    if note := caveat(precision, device):
        ui.warn(note)
    peak = world.broadcast(precision_peak(device, precision))
    return make_engine(
        EngineSpec(model, recipe.train, precision, recipe.optim.ema, world, ui)
    ), peak


def _held_out(data: RunData) -> Iterator[np.ndarray]:
    """Yield the documents of the held-out samples."""
    for sample in data.samples.values():
        numbers = sample.documents or range(sample.shards.num_documents)
        yield from (sample.shards.document(number) for number in numbers)


def _restore(session: Session, saved: Saved) -> None:
    """Rewind EMA, loss scale, metrics and best checkpoint to the loaded checkpoint."""
    best, steps = saved.progress.best, checkpoint_steps(session.run.checkpoints)
    # The process may have died between writing the checkpoint and marking the best.
    if best is not None and best.step in steps and session.world.is_main:
        write_best(session.run.path, best.step, best.metric, best.value)
    restore_engine(session.engine, saved)
    session.recorder.load(saved.state["recorder"])
    session.alerts.load(saved.state["watch"])
    session.tracker.rewind(saved.progress.step)


def restore_engine(engine: Engine, saved: Saved) -> None:
    """Load the EMA and the loss scale of a checkpoint."""
    if saved.ema is not None:
        engine.load_ema(saved.ema, saved.state["ema_updates"])
    if saved.state["loss_scale"] is not None and engine.mixed_precision.scale is not None:
        engine.mixed_precision.scale = LossScale(**saved.state["loss_scale"])


def _load_newest(run: RunFolder, model: LanguageModel, ui: Ui) -> Saved | None:
    path, damaged = newest_intact(run.checkpoints)
    for reason in damaged:
        ui.warn(f"{reason}; falling back to the previous checkpoint")
    if path is None and damaged:
        raise YxanulError(
            f"no checkpoint in {run.checkpoints} is intact",
            hint=f"delete it and {run.ledger.name} to start over",
        )
    if path is None:
        return None
    weights, saved = load_checkpoint(path)
    model.load_state_dict(weights)
    progress = saved.progress
    ui.say(f"resuming from {path.name} (stage '{progress.stage}', step {progress.stage_step})")
    return saved


def load_checkpoint(path: Path) -> tuple[Mapping[str, torch.Tensor], Saved]:
    """Return the weights of a checkpoint, and the rest of it; raise CheckpointDamaged."""
    tensors, state = read_checkpoint(path)
    optimizer_state = OptimizerState(tensors["optimizer"], state["optimizer"])
    progress = Progress.from_dict(state["progress"])
    return tensors["model"], Saved(progress, optimizer_state, tensors.get("ema"), state)


def load_initial(
    model: LanguageModel, recipe: Recipe, tokenizer: Tokenizer, ledger: Ledger, world: World, ui: Ui
) -> None:
    """Load the weights of `model.init_from` into a model.

    The ledger keeps their digest; entries of stages that started from other weights are removed.
    """
    folder = initial_folder(recipe)
    source = open_bundle(folder, device="cpu")
    if source.tokenizer.digest != tokenizer.digest:
        raise other_tokenizer(folder, "the run's", tokenizer, source.tokenizer, AGAIN)
    _check_shape(model.settings, source.model.settings, folder)
    tensors = source.model.state_dict()
    digest = digest_of(tensors)
    if world.any(world.broadcast(digest) != digest):
        raise YxanulError(f"{folder} changed while it was read", hint="run the same command again")
    model.load_state_dict(tensors)
    if ledger.decisions.get("init_from", {}).get("digest", digest) != digest:
        ledger.entries.clear()
    ledger.decisions["init_from"] = {"path": str(folder), "step": source.step, "digest": digest}
    ledger.write()
    at = "" if source.step is None else f", step {source.step}"
    ui.say(f"starting from the weights in {folder}{at}")


def digest_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of fp32 tensors and their names, independent of the file layout."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().numpy())  # pyright: ignore[reportArgumentType]
    return digest.hexdigest()


def _check_shape(mine: ModelSettings, theirs: ModelSettings, folder: Path) -> None:
    kept = ModelSettings.model_fields.keys() - free_settings(theirs) - {"preset", "init_from"}
    other = [name for name in sorted(kept) if getattr(mine, name) != getattr(theirs, name)]
    if other:
        raise YxanulError(
            f"the weights in {folder} do not match the recipe's model",
            got=", ".join(f"{name} {getattr(theirs, name)}" for name in other),
            expected=", ".join(f"{name} {getattr(mine, name)}" for name in other),
            hint=AGAIN,
        )
