"""Layout of a run folder: a public interface that all commands rely on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yxanul.base.cache import fetched_folder, is_address
from yxanul.base.files import expand_home


@dataclass(frozen=True)
class RunFolder:
    """Paths in `runs/<name>/`."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.resolve().name

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def environment(self) -> Path:
        """Hardware, versions and the settings chosen for them."""
        return self.path / "environment.json"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer in the format of the `tokenizers` library."""
        return self.path / "tokenizer.json"

    def data(self, shared: str | None) -> Path:
        """Folder of the shards: in the run, or `shared`; for a remote address, its local cache."""
        if shared and is_address(shared):
            return fetched_folder(shared)
        return expand_home(shared) if shared else self.path / "data"

    @property
    def metrics(self) -> Path:
        """Metrics, one JSON object per line."""
        return self.path / "metrics.jsonl"

    @property
    def ledger(self) -> Path:
        """Stages, budgets and gate verdicts."""
        return self.path / "ledger.json"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints, one folder each."""
        return self.path / "checkpoints"

    @property
    def has_begun(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return any(self.checkpoints.glob("step-*"))

    @property
    def evaluations(self) -> Path:
        """Scores of tasks, by weights and requests."""
        return self.path / "evaluations"

    @property
    def samples(self) -> Path:
        """Samples generated during training."""
        return self.path / "samples"
