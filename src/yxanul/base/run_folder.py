"""The layout of a run folder: a public interface that every verb relies on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yxanul.base.cache import fetched_folder, is_address


@dataclass(frozen=True)
class RunFolder:
    """Where things lie in `runs/<name>/`."""

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
        """Machine, versions and what was chosen for them."""
        return self.path / "environment.json"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer in the format of the `tokenizers` library."""
        return self.path / "tokenizer.json"

    def data(self, shared: str | None) -> Path:
        """The shards: in the run, or in the folder that several runs share; of an address, the
        copies here."""
        if shared and is_address(shared):
            return fetched_folder(shared)
        return Path(shared).expanduser() if shared else self.path / "data"

    @property
    def metrics(self) -> Path:
        """One JSON object a line and step."""
        return self.path / "metrics.jsonl"

    @property
    def ledger(self) -> Path:
        """Stages, budgets and verdicts."""
        return self.path / "ledger.json"

    @property
    def checkpoints(self) -> Path:
        """One folder a checkpoint."""
        return self.path / "checkpoints"

    @property
    def has_begun(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return any(self.checkpoints.glob("step-*"))

    @property
    def samples(self) -> Path:
        """Texts that the model wrote during training."""
        return self.path / "samples"
