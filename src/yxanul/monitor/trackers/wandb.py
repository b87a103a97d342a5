"""Weights & Biases tracker; `WANDB_MODE=offline` and its other variables are honoured."""

from __future__ import annotations

import html
import os
import uuid
from collections.abc import Mapping
from typing import Any

from yxanul.base.errors import YxanulError, missing_package
from yxanul.base.files import read_json, write_json
from yxanul.base.run_folder import RunFolder
from yxanul.monitor.trackers.tracker import Histogram


class WandbTracker:
    """Logs to one W&B run per run folder, across resumes."""

    def __init__(self, run: RunFolder):
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise missing_package("wandb", "track") from None
        self._wandb: Any = wandb
        self._folder = run
        self._run: Any = None

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of `step`, unless W&B has that step already."""
        run = self._open()
        if step >= run.step:
            run.log(dict(metrics), step=step)

    def text(self, step: int, name: str, text: str) -> None:
        """Log the text verbatim."""
        run = self._open()
        if step >= run.step:
            run.log({name: self._wandb.Html(f"<pre>{html.escape(text)}</pre>")}, step=step)

    def histogram(self, step: int, name: str, histogram: Histogram) -> None:
        """Log the histogram."""
        run = self._open()
        if step >= run.step:
            pair = (histogram.counts, list(histogram.edges))
            run.log({name: self._wandb.Histogram(np_histogram=pair)}, step=step)

    def rewind(self, step: int) -> None:
        """No-op: W&B cannot drop steps, and a resumed run repeats them exactly."""

    def close(self) -> None:
        """Finish the W&B run; the next log call resumes it."""
        if self._run is not None:
            self._run.finish()
            self._run = None

    def _open(self) -> Any:
        if self._run is None:
            self._folder.path.mkdir(parents=True, exist_ok=True)
            try:
                self._run = self._wandb.init(
                    project=os.environ.get("WANDB_PROJECT", "yxanul"),
                    name=self._folder.name,
                    dir=str(self._folder.path),
                    id=self._id(),
                    resume="allow",
                )
            except self._wandb.errors.Error as error:
                raise YxanulError(
                    "cannot start W&B",
                    got=error,
                    hint="log in with `wandb login`, or set WANDB_MODE=offline",
                ) from error
        return self._run

    def _id(self) -> str:
        path = self._folder.path / "wandb.json"
        if not path.exists():
            write_json(path, {"schema_version": 1, "id": uuid.uuid4().hex[:12]})
        return str(read_json(path)["id"])
