"""The machine, the table on the terminal, and the file of results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from yxanul.stages.measure import describe_environment

RESULTS = Path(__file__).resolve().parents[1] / "results"
PACKAGES = ("transformers", "litgpt", "triton")
CONSOLE = Console(width=max(Console().width, 160), highlight=False)


def say(line: str) -> None:
    """Show a line at once."""
    CONSOLE.print(line, markup=False, soft_wrap=True)


def describe_machine(threads: int | None) -> dict[str, Any]:
    """Return the machine and the versions of everybody."""
    machine = describe_environment()
    machine["threads"] = threads or torch.get_num_threads()
    for package in PACKAGES:
        try:
            machine[package] = version(package)
        except PackageNotFoundError:
            machine[package] = None
    return machine


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; all columns but the first are figures."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    CONSOLE.print(table)


def spread(ratio: dict[str, float] | None) -> str:
    """Write a ratio with its range: 1.23 (1.20..1.25)."""
    if ratio is None:
        return ""
    return f"{ratio['median']:.2f} ({ratio['min']:.2f}..{ratio['max']:.2f})"


def mebibytes(number: float) -> str:
    """Write bytes in MiB."""
    return f"{number / 2**20:,.0f}"


def write_results(folder: Path, what: str, device: str, found: dict[str, Any]) -> None:
    """Write a file named after the day, what was measured and the device."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{date.today()}-{what}-{device}.json"
    path.write_text(json.dumps(found, indent=2) + "\n")
    say(f"written to {path}")
