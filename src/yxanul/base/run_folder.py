"""Layout of a run folder: a public interface that all commands rely on."""

from __future__ import annotations

from pathlib import Path

from yxanul.base.cache import fetched_folder, is_address
from yxanul.base.errors import YxanulError
from yxanul.base.files import expand_home


class RunFolder:
    """Paths in `runs/<name>/`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.yaml"
        """The resolved recipe."""
        self.environment = path / "environment.json"
        """Hardware, versions, number of devices and peak FLOP/s."""
        self.tokenizer = path / "tokenizer.json"
        """The tokenizer in the format of the `tokenizers` library."""
        self.metrics = path / "metrics.jsonl"
        """Metrics, one JSON object per line."""
        self.ledger = path / "ledger.json"
        """Measured decisions, stages, budgets and gate verdicts."""
        self.checkpoints = path / "checkpoints"
        """Checkpoints, one folder each."""
        self.evaluations = path / "evaluations"
        """Scores of tasks, by weights and requests."""
        self.samples = path / "samples"
        """Samples generated during training."""

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.resolve().name

    def check_exists(self) -> None:
        """Raise YxanulError if there is no such folder."""
        if not self.path.is_dir():
            default = Path("runs") / self.path.stem
            start = f"start one: yxanul run RECIPE --out {self.path}"
            raise YxanulError(
                f"there is no run in {self.path}",
                got="a file" if self.path.is_file() else None,
                hint=f"did you mean {default}?" if default.is_dir() else start,
            )

    @property
    def has_begun(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return any(self.checkpoints.glob("step-*"))

    def data(self, shared: str | None) -> Path:
        """Folder of the shards: in the run, or `shared`; for a remote address, its local cache."""
        if shared and is_address(shared):
            return fetched_folder(shared)
        return expand_home(shared) if shared else self.path / "data"
