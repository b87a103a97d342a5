"""TensorBoard tracker: event files in the run folder's `tensorboard`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from yxanul.base.errors import missing_package
from yxanul.base.run_folder import RunFolder
from yxanul.monitor.alerts import Alert
from yxanul.monitor.trackers.tracker import Histogram

FLUSH_SECONDS = 5


class TensorboardTracker:
    """Writes scalars and texts; after a rewind, TensorBoard hides the purged steps."""

    def __init__(self, run: RunFolder):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise missing_package("tensorboard", "track") from None
        self._make_writer = SummaryWriter
        self._folder = str(run.path / "tensorboard")
        self._purge_step: int | None = None
        self._writer: Any = None

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log each finite metric as a scalar."""
        for name, value in metrics.items():
            if math.isfinite(value):
                self._open().add_scalar(name, value, step)

    def text(self, step: int, name: str, text: str) -> None:
        """Log the text."""
        self._open().add_text(name, text, step)

    def histogram(self, step: int, name: str, histogram: Histogram) -> None:
        """Log the histogram; its sums, which TensorBoard also wants, follow from the bins."""
        counts, edges = histogram
        bins = list(zip(counts, edges, edges[1:], strict=False))
        filled = [(low, high) for count, low, high in bins if count]
        self._open().add_histogram_raw(
            name,
            min=filled[0][0] if filled else 0.0,
            max=filled[-1][1] if filled else 0.0,
            num=sum(counts),
            sum=sum(count * (low + high) / 2 for count, low, high in bins),
            sum_squares=sum(count * (low**2 + high**2) / 2 for count, low, high in bins),
            bucket_limits=list(edges[1:]),
            bucket_counts=counts,
            global_step=step,
        )

    def alert(self, alert: Alert) -> None:
        """Log the alert as a text, and flush."""
        self.text(alert.step, f"alerts/{alert.name}", str(alert))
        self._open().flush()

    def rewind(self, step: int) -> None:
        """Start a new event file that purges all later steps."""
        self.close()
        self._purge_step = step + 1

    def close(self) -> None:
        """Flush and close the event file; the next log call starts another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self) -> Any:
        if self._writer is None:
            self._writer = self._make_writer(
                self._folder, purge_step=self._purge_step, flush_secs=FLUSH_SECONDS
            )
            self._purge_step = None
        return self._writer
