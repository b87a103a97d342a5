"""Metric trackers: JSONL, TensorBoard and Weights & Biases."""

from collections.abc import Callable, Sequence

from yxanul.base.registry import lookup
from yxanul.base.run_folder import RunFolder
from yxanul.monitor.trackers.jsonl import JsonlTracker
from yxanul.monitor.trackers.multi import MultiTracker
from yxanul.monitor.trackers.tensorboard import TensorboardTracker
from yxanul.monitor.trackers.tracker import Tracker
from yxanul.monitor.trackers.wandb import WandbTracker

__all__ = ["TRACKERS", "Tracker", "open_trackers"]

TRACKERS: dict[str, Callable[[RunFolder], Tracker]] = {
    "jsonl": JsonlTracker,
    "tensorboard": TensorboardTracker,
    "wandb": WandbTracker,
}
"""Tracker factories by name; optional packages are imported only when needed."""


def open_trackers(names: Sequence[str], run: RunFolder) -> Tracker:
    """Open the named trackers of a run, as one; YxanulError if a package is missing."""
    return MultiTracker([lookup(TRACKERS, name, "tracker")(run) for name in names])
