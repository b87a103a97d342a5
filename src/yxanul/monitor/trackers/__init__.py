"""Metric trackers: JSONL, TensorBoard and Weights & Biases."""

from collections.abc import Callable, Sequence

from yxanul.base.registry import lookup
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import SilentUi, Ui
from yxanul.monitor.trackers.jsonl import JsonlTracker
from yxanul.monitor.trackers.multi import BackgroundTracker, MultiTracker
from yxanul.monitor.trackers.tensorboard import TensorboardTracker
from yxanul.monitor.trackers.tracker import Histogram, Tracker
from yxanul.monitor.trackers.wandb import WandbTracker

__all__ = ["TRACKERS", "Histogram", "Tracker", "open_trackers"]

TRACKERS: dict[str, Callable[[RunFolder], Tracker]] = {
    "jsonl": JsonlTracker,
    "tensorboard": TensorboardTracker,
    "wandb": WandbTracker,
}
"""Tracker factories by name; optional packages are imported only when needed."""


def open_trackers(names: Sequence[str], run: RunFolder, ui: Ui | None = None) -> Tracker:
    """Open the named trackers of a run, as one; YxanulError if a package is missing.

    metrics.jsonl is the record of the run: it is written at once, and first. The others show it;
    when one fails, `ui` warns and the run goes on.
    """
    warn = (ui or SilentUi()).warn
    opened = {name: lookup(TRACKERS, name, "tracker")(run) for name in names}
    records = [opened.pop(name) for name in names if name == "jsonl"]
    shown = [BackgroundTracker(name, tracker, warn) for name, tracker in opened.items()]
    return MultiTracker(records, shown)
