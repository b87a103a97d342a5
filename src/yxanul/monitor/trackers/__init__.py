"""Metric trackers: JSONL, TensorBoard and Weights & Biases."""

from collections.abc import Callable, Sequence

from yxanul.base.registry import lookup
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import SilentUi, Ui
from yxanul.monitor.trackers.background import BackgroundTracker
from yxanul.monitor.trackers.jsonl import JsonlTracker
from yxanul.monitor.trackers.multi import MultiTracker
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
    opened: list[Tracker] = []
    for name in sorted(names, key=lambda name: name != "jsonl"):
        tracker = lookup(TRACKERS, name, "tracker")(run)
        is_record = isinstance(tracker, JsonlTracker)
        opened.append(tracker if is_record else BackgroundTracker(name, tracker, warn))
    return MultiTracker(opened)
