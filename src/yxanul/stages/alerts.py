"""Alerts of a run: what the rules read besides a step's own metrics, and what raised ones do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from yxanul.data.batches import Batch, BatchLoader
from yxanul.data.mix import Row
from yxanul.eval.score import Score
from yxanul.monitor.batches import BatchWatch
from yxanul.optim.config import OptimSettings
from yxanul.optim.table import usual_lr
from yxanul.recipe import Recipe
from yxanul.stages.config import stage_optim
from yxanul.stages.ledger import Entry
from yxanul.stages.session import Session
from yxanul.train.trainer import Changes, StepReport

LEAK_TOKENS = 256
"""Length of the row by which a look at later tokens is found."""


class WatchedLoader(BatchLoader):
    """A loader whose batches are noted."""

    def __init__(self, loader: BatchLoader, watch: BatchWatch):
        self._loader, self._watch = loader, watch

    def load(self, rows: Sequence[Row], seq_len: int) -> Batch:
        """Load the rows."""
        batch = self._loader.load(rows, seq_len)
        self._watch.add(batch.ids_BT.numpy(), batch.targets_BT.numpy())
        return batch


def stage_metrics(
    session: Session, index: int, entry: Entry, report: StepReport
) -> dict[str, float]:
    """Return what alerts need to know of a step's stage."""
    progress, data = report.progress, session.data
    done, positions = progress.stage_step - 1, progress.cursor.positions
    metrics: dict[str, float] = {
        "curriculum/stage": index,
        "curriculum/attempt": sum(action.step <= done for action in entry.actions),
        "data/epochs": max(data.orders[name].epochs_before(at) for name, at in positions.items()),
    }
    if done == 0:
        domains = session.recipe.stages[index].domains()
        optim = stage_optim(session.recipe.optim, session.recipe.stages[index])
        metrics["optim/usual_lr"] = usual_lr(optim.name, session.model_settings.width)
        metrics |= future_leak(session, report.phase.seq_len)
        metrics["model/vocab_size"] = session.model_settings.num_tokens
        metrics["model/from_scratch"] = float(index == 0 and session.recipe.model.init_from is None)
        metrics["data/synthetic"] = float(
            any(data.held_out[domain].synthetic for domain in domains)
        )
    return metrics


@torch.no_grad()
def future_leak(session: Session, seq_len: int) -> dict[str, float]:
    """Return how much the hidden states of a row change with its last token: 0 but for a leak.

    All ranks must call it, since a sharded model has to be gathered; only rank 0 measures.
    """
    with session.engine.eval_weights() as model:
        if not session.world.is_main or session.engine.mixed_precision.precision == "fp8":
            return {}
        length, num_tokens = min(seq_len, LEAK_TOKENS), model.settings.num_tokens
        if length < 2:
            return {}
        ids_BT = torch.arange(length, device=session.device).unsqueeze(0) % num_tokens
        before_BTD = model.hidden(ids_BT)[:, :-1].float()
        ids_BT[0, -1] = (ids_BT[0, -1] + 1) % num_tokens
        after_BTD = model.hidden(ids_BT)[:, :-1].float()
        change, size = (after_BTD - before_BTD).abs().amax(), before_BTD.abs().mean()
        return {"model/future_leak": float(change / size.clamp(min=1e-9))}


def mix_metrics(scores: Mapping[str, Score], mix: Mapping[str, float]) -> dict[str, float]:
    """Return the held-out loss of a mix: its domains' losses by their share of its tokens."""
    total = sum(mix.values())
    return {
        "val/mix_loss": sum(
            scores[name].loss * share / total for name, share in mix.items() if share
        ),
        "val/bytes_per_token": sum(score.bytes for score in scores.values())
        / sum(score.tokens for score in scores.values()),
    }


def log(session: Session, step: int, metrics: Mapping[str, float]) -> Changes:
    """Send metrics to the trackers, and record and show alerts; return a stop if one asks for it.

    Only rank 0 sees alerts: the others have other times and rows.
    """
    session.tracker.log(step, metrics)
    stop = None
    for alert in session.watch.check(step, metrics) if session.world.is_main else ():
        session.tracker.alert(alert)
        session.ui.warn(str(alert))
        if session.recipe.monitor.alerts.action(alert.name) == "stop":
            stop = str(alert)
    return Changes(stop=stop)


def advice_values(recipe: Recipe, index: int) -> dict[str, str]:
    """Return the keys and values to paste in the advice of alerts in a stage."""
    stage = recipe.stages[index]
    optim, model = stage_optim(recipe.optim, stage), recipe.model
    clip = f"optim.grad_clip={optim.grad_clip / 2 if optim.grad_clip else 1:g}"
    return {
        "lower_lr": _rates(recipe, index, optim, 0.5),
        "higher_lr": _rates(recipe, index, optim, 2),
        "longer_warmup": _warmup(recipe, index, optim),
        "clip": clip,
        "higher_clip": f"optim.grad_clip={2 * optim.grad_clip:g}" if optim.grad_clip else clip,
        "weight_decay": f"optim.weight_decay={max(0.1, 2 * optim.weight_decay):g}",
        "larger_init": f"model.init_std={2 * model.init_std:g}",
    }


def _rates(recipe: Recipe, index: int, optim: OptimSettings, factor: float) -> str:
    """Return the learning rates times a factor, at the keys that decide them in a stage."""
    own = recipe.stages[index].optim.peak_lr is not None
    key = f"stages.{index}.optim" if own else "optim"
    text = f"{key}.peak_lr={factor * optim.peak_lr:.2g}"
    if recipe.optim.muon_lr is not None and not own:  # else four times peak_lr
        text += f" optim.muon_lr={factor * recipe.optim.muon_lr:.2g}"
    return text


def _warmup(recipe: Recipe, index: int, optim: OptimSettings) -> str:
    """Return twice the warm-up of a stage, at its key."""
    key = f"stages.{index}.optim" if recipe.stages[index].optim.schedule else "optim"
    for unit in ("steps", "tokens", "fraction"):
        if length := getattr(optim.schedule, f"warmup_{unit}"):
            return f"{key}.schedule.warmup_{unit}={2 * length:g}"
    return f"{key}.schedule.warmup_fraction=0.1"
