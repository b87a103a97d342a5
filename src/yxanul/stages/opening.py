"""Opening a prepared run: its model built or loaded, its data mapped, its records taken up."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from yxanul.base.errors import YxanulError
from yxanul.base.files import write_json
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.base.seeds import derive_seed
from yxanul.base.ui import Ui
from yxanul.checkpoint.background import CheckpointWriter
from yxanul.checkpoint.keep import write_best
from yxanul.checkpoint.layout import checkpoint_steps
from yxanul.checkpoint.read import newest_intact, read_checkpoint
from yxanul.data.batches import Feed
from yxanul.data.manifest import Split
from yxanul.data.mix import MixCursor
from yxanul.data.order import Parts, SourceOrder
from yxanul.data.shards import Shards
from yxanul.model.language_model import LanguageModel
from yxanul.monitor.alerts import Watch
from yxanul.monitor.metrics import StepRecorder
from yxanul.monitor.peak import Peak
from yxanul.monitor.trackers import open_trackers
from yxanul.recipe import Recipe
from yxanul.stages.corpus import draw_sample, load_tokenizer, open_shards
from yxanul.stages.environment import describe_environment
from yxanul.stages.initial import load_initial
from yxanul.stages.ledger import Ledger
from yxanul.stages.measure import decide_precision, decide_threads
from yxanul.stages.preparation import Preparation
from yxanul.stages.session import Saved, Session, train_tokens
from yxanul.tokenizer.tokenizer import Tokenizer
from yxanul.train.engine import Engine, Moments
from yxanul.train.parallel.build import Plant, make_engine
from yxanul.train.parallel.world import World
from yxanul.train.precision.decide import caveat, precision_peak
from yxanul.train.precision.scale import LossScale
from yxanul.train.precision.twin import choose_device
from yxanul.train.progress import Progress


def open_session(
    run: RunFolder,
    recipe: Recipe,
    ui: Ui,
    stop: StopRequest,
    preparation: Preparation | None = None,
    world: World | None = None,
) -> Session:
    """Open a prepared run: build its model, or load the newest intact checkpoint.

    Where `preparation` is still at work, the session holds the held-out text that is there. In a
    `world` of several, all processes open the run; the first one writes what there is to write.
    """
    world = world or World()
    tokenizer = load_tokenizer(run, recipe)

    def opened(split: Split) -> dict[str, Shards]:
        return open_shards(run, recipe, split, tokenizer, ui)

    shards = (preparation.shards if preparation else opened)("train")
    held_out = preparation.first_held_out() if preparation else opened("validation")
    ledger = Ledger.open(run.ledger, writes=world.is_first)
    world.wait_for_all()  # from here on the first process writes what all have read
    model, saved = _weights(run, recipe, tokenizer, ledger, world, ui)
    engine, peak = _engine(model, recipe, ledger, world, ui)
    _write_environment(run, peak, world)
    session = Session(
        run=run,
        recipe=recipe,
        ui=ui,
        stop=stop,
        tokenizer=tokenizer,
        engine=engine,
        feed=Feed(_orders(shards, recipe)),
        held_out=held_out,
        samples={name: draw_sample(one, recipe) for name, one in held_out.items()},
        train_tokens={} if preparation else train_tokens(run, recipe),
        ledger=ledger,
        tracker=open_trackers(recipe.monitor.trackers if world.is_first else (), run),
        recorder=StepRecorder(peak.flops_per_second * world.size, engine.device.type),
        watch=Watch(),
        saved=saved,
        progress=saved.progress if saved else Progress("", 0, 0, 0, MixCursor()),
        peak_flops=peak.flops_per_second,
        writer=CheckpointWriter(run.checkpoints, background=recipe.train.checkpoint.background),
        preparation=preparation,
    )
    _go_on_from(session)
    return session


def _weights(
    run: RunFolder, recipe: Recipe, tokenizer: Tokenizer, ledger: Ledger, world: World, ui: Ui
) -> tuple[LanguageModel, Saved | None]:
    """Return the model on its device, with the weights of the newest checkpoint; without one, with
    those that the recipe starts from, or random ones."""
    model = LanguageModel(recipe.model.resolved(tokenizer.vocab_size))
    saved = _load_newest(run, model, ui)
    if saved is None and recipe.model.init_from is not None:
        source = load_initial(model, recipe, tokenizer, ledger, world)
        ui.say(f"starting from the weights in {source}")
    elif saved is None:
        model.init_weights(torch.Generator().manual_seed(derive_seed(recipe.seed, "weights")))
    return model.to(choose_device(recipe.train.device)), saved


def _engine(
    model: LanguageModel, recipe: Recipe, ledger: Ledger, world: World, ui: Ui
) -> tuple[Engine, Peak]:
    """Return the engine in the precision that was decided on, and the peak that MFU is of."""
    device = model.embedding.tokens.device
    decide_threads(ledger, device, ui)
    precision = world.from_first(decide_precision(ledger, recipe, model, world.size, ui))
    if note := caveat(precision, device):
        ui.warn(note)
    peak = world.from_first(precision_peak(device, precision))
    return make_engine(Plant(model, recipe.train, precision, recipe.optim.ema, world, ui)), peak


def _write_environment(run: RunFolder, peak: Peak, world: World) -> None:
    if world.is_first:
        about = {"peak_flops": peak._asdict(), "devices": world.size}
        write_json(run.environment, describe_environment() | about)


def _orders(shards: Mapping[str, Parts], recipe: Recipe) -> dict[str, SourceOrder]:
    tokens = recipe.data.shuffle_tokens
    return {name: SourceOrder(one, recipe.seed, tokens) for name, one in shards.items()}


def _go_on_from(session: Session) -> None:
    """Bring all that records a run back to where the checkpoint was written."""
    if session.saved is None:
        session.tracker.rewind(0)
        return
    best, steps = session.saved.progress.best, checkpoint_steps(session.run.checkpoints)
    # It may have died between checkpoint and this.
    if best is not None and best.step in steps and session.world.is_first:
        write_best(session.run.path, best.step, best.metric, best.value)
    if session.saved.ema is not None:
        session.engine.load_mean(session.saved.ema, session.saved.ema_updates)
    scale = session.saved.loss_scale
    if scale is not None and session.engine.twin.scale is not None:
        session.engine.twin.scale = LossScale.from_dict(scale)
    session.recorder.load(session.saved.recorder)
    session.watch.load(session.saved.watch)
    session.tracker.rewind(session.saved.progress.step)


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
        Moments(tensors["optimizer"], state["optimizer"]),
        state["recorder"],
        state["watch"],
        tensors.get("ema"),
        state.get("ema_updates", 0),
        state["loss_scale"],
    )
