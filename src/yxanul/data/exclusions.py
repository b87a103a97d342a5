"""What benchmarks ask, as a file that every worker reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from yxanul.base.ui import Ui
from yxanul.data.config import DataSettings
from yxanul.text.benchmarks import benchmark_texts
from yxanul.text.decontaminate import ngrams_of

Benchmarks = Mapping[str, str | None]
"""The file of each benchmark's test set; None is the hub's."""


def comparison_digest(settings: DataSettings, benchmarks: Benchmarks) -> str:
    """Return a mark of all that drops documents by comparison: benchmarks, and other documents."""
    compared: dict[str, Any] = {"benchmarks": dict(sorted(benchmarks.items()))}
    if settings.deduplicate is not None:
        compared["deduplicate"] = settings.deduplicate.model_dump(mode="json")
        compared["sources"] = list(settings.sources)
    return _digest(compared)


def benchmark_ngrams(folder: Path, benchmarks: Benchmarks, ui: Ui) -> Path | None:
    """Return the file of the runs of words that training must not see, made if it is not there;
    None if no benchmark is named."""
    if not benchmarks:
        return None
    states = {name: _state(path) for name, path in sorted(benchmarks.items())}
    file = folder / f"benchmarks-{_digest(states)[:16]}.npz"
    if not file.is_file():
        texts = chain.from_iterable(benchmark_texts(*item) for item in benchmarks.items())
        ngrams = ngrams_of(texts)
        ngrams.save(file)
        ui.say(
            f"decontamination: {len(ngrams):,} runs of words of {', '.join(benchmarks)} are looked"
            f" for in every source; {ngrams.too_short:,} texts are too short to look for"
        )
    return file


def _state(path: str | None) -> list[Any]:
    """Return what changes when a file does."""
    if path is None:
        return [None]
    file = Path(path).expanduser()
    state = file.stat() if file.is_file() else None
    return [path, state.st_size, state.st_mtime_ns] if state else [path]


def _digest(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
