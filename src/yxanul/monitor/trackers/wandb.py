"""Weights & Biases tracker; `WANDB_MODE=offline` and its other variables are honoured."""

from __future__ import annotations

import html
import math
import os
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from yxanul.base.errors import YxanulError, missing_package
from yxanul.base.files import read_json, write_json
from yxanul.base.run_folder import RunFolder
from yxanul.monitor.alerts import Alert
from yxanul.monitor.trackers.jsonl import read_metrics
from yxanul.monitor.trackers.tracker import Histogram

SUMMARIES = {
    "train/loss": "min",
    "val/loss": "min",
    "val/perplexity": "min",
    "val/bits_per_byte": "min",
    "perf/tokens_per_second": "mean",
    "memory/max_allocated_gb": "max",
}
"""What the table of runs shows of a metric, instead of its last value."""
LEVELS = {"warn": "WARN", "error": "ERROR"}


class WandbTracker:
    """Logs to one W&B run per run folder, across resumes.

    Online, W&B reports its last step, and steps that it already has are left out. Offline it
    cannot: after a resume the new offline folder is first filled with the metrics of metrics.jsonl,
    so that the newest holds those of the whole run (`wandb sync` overwrites the earlier ones with
    it); texts and histograms of before the resume are not repeated.
    """

    def __init__(self, run: RunFolder):
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise missing_package("wandb", "track") from None
        self._wandb: Any = wandb
        self._folder = run
        self._run: Any = None

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the finite metrics of `step`, unless W&B has that step already."""
        self._send(step, _finite(metrics))

    def text(self, step: int, name: str, text: str) -> None:
        """Log the text verbatim."""
        self._send(step, {name: self._wandb.Html(f"<pre>{html.escape(text)}</pre>")})

    def histogram(self, step: int, name: str, histogram: Histogram) -> None:
        """Log the histogram."""
        pair = (histogram.counts, list(histogram.edges))
        self._send(step, {name: self._wandb.Histogram(np_histogram=pair)})

    def alert(self, alert: Alert) -> None:
        """Log the alert as a text, and as an alert of W&B, which may send a message."""
        self.text(alert.step, f"alerts/{alert.name}", str(alert))
        self._open(alert.step).alert(
            title=alert.name, text=str(alert), level=LEVELS[alert.severity]
        )

    def rewind(self, step: int) -> None:
        """End an open run: W&B cannot drop steps, and those that are repeated are equal."""
        self.close()

    def close(self) -> None:
        """Finish the W&B run; the next log call resumes it."""
        if self._run is not None:
            self._run.finish()
            self._run = None

    def _send(self, step: int, values: dict[str, Any]) -> None:
        run = self._open(step)
        if step >= run.step:
            run.log(values, step=step)

    def _open(self, step: int) -> Any:
        if self._run is None:
            self._folder.path.mkdir(parents=True, exist_ok=True)
            try:
                self._run = self._wandb.init(
                    project=os.environ.get("WANDB_PROJECT", "yxanul"),
                    name=self._folder.name,
                    dir=str(self._folder.path),
                    id=self._id(),
                    resume="allow",
                    config=self._recipe(),
                )
            except self._wandb.errors.Error as error:
                raise YxanulError(
                    "cannot start W&B",
                    got=error,
                    hint="log in with `wandb login`, or set WANDB_MODE=offline",
                ) from error
            for name, summary in SUMMARIES.items():
                self._run.define_metric(name, summary=summary)
            if self._run.offline:
                for earlier, metrics in self._metrics_before(step):
                    self._run.log(metrics, step=earlier)
        return self._run

    def _metrics_before(self, step: int) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield the finite metrics of metrics.jsonl before a step."""
        if not self._folder.metrics.is_file():
            return
        for earlier, metrics in read_metrics(self._folder.metrics):
            if earlier >= step:
                return
            if finite := _finite(metrics):
                yield earlier, finite

    def _recipe(self) -> Any:
        path = self._folder.recipe
        return yaml.safe_load(path.read_text()) if path.is_file() else None

    def _id(self) -> str:
        path = self._folder.path / "wandb.json"
        if not path.exists():
            write_json(path, {"schema_version": 1, "id": uuid.uuid4().hex[:12]})
        return str(read_json(path)["id"])


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
