"""Where metrics go: one tracker a destination, all with the same few methods."""

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
"""By name: what opens a tracker of a run; packages that one needs load when it is opened."""


def open_trackers(names: Sequence[str], run: RunFolder) -> Tracker:
    """Open the named trackers of a run, as one; a package that is missing is a YxanulError."""
    return MultiTracker([lookup(TRACKERS, name, "tracker")(run) for name in names])
