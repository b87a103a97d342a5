"""Reports of the benchmarks: their options, the machine, tables on the terminal, result files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from harness.process import ROOT
from peers.ours import describe_environment

RESULTS = ROOT / "results"
SHARED = ROOT.parents[1] / "shared" / "data"
PACKAGES = (
    "transformers", "litgpt", "triton", "datasets", "tokenizers", "tiktoken", "gigatoken",
)  # fmt: skip
PRECISIONS = ["fp32", "bf16"]
CONSOLE = Console(width=max(Console().width, 160), highlight=False)


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, help="threads of each contender; default: all cores")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    return parser


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Read the command line; this process then has the threads of the contenders, if given."""
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    return options


def add_contenders(parser: argparse.ArgumentParser, table: Mapping[str, Any], rounds: int) -> None:
    """Add the options of a benchmark whose contenders run in turn."""
    names = list(table)
    parser.add_argument("--contenders", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=rounds, help="rounds of each contender")
    parser.add_argument("--seed", type=int, default=0)


def describe_machine(threads: int | None) -> dict[str, Any]:
    """Return the machine and the versions of everybody; None for a package that is not there."""
    machine = describe_environment() | {"threads": threads or torch.get_num_threads()}
    for package in PACKAGES:
        try:
            machine[package] = version(package)
        except PackageNotFoundError:
            machine[package] = None
    return machine


def say(line: str) -> None:
    """Show a line at once."""
    CONSOLE.print(line, markup=False, soft_wrap=True)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; all columns but the first are figures."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    CONSOLE.print(table)


def spread(ratio: Mapping[str, float] | None) -> str:
    """Write a ratio with its range: 1.23 (1.20..1.25)."""
    if ratio is None:
        return ""
    return f"{ratio['median']:.2f} ({ratio['min']:.2f}..{ratio['max']:.2f})"


def mebibytes(number: float) -> str:
    """Write bytes in MiB."""
    return f"{number / 2**20:,.0f}"


def judge(figure: float, wanted: tuple[str, float]) -> dict[str, Any]:
    """Return a figure beside what the project asks of it, "at least", "at most" or "below" a bound,
    and whether it is met."""
    how, bound = wanted
    met = {"at least": figure >= bound, "at most": figure <= bound, "below": figure < bound}[how]
    return {"found": figure, "wanted": f"{how} {bound:g}", "met": met}


def write_results(
    options: argparse.Namespace, what: str, found: dict[str, Any], device: str = "cpu"
) -> None:
    """Write a file named after the day, what was measured and the device: the machine, the options
    of the command line but for paths, and what was found."""
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{date.today()}-{what}-{device}.json"
    given = {key: str(v) for key, v in vars(options).items() if not isinstance(v, Path)}
    told = {"machine": describe_machine(options.threads), "options": given} | found
    path.write_text(json.dumps(told, indent=2) + "\n")
    say(f"written to {path}")


def kept(path: Path, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the result in a file; if there is none, do the work and write the file whole."""
    if not path.exists():
        found = do()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(found, indent=2) + "\n")
        partial.replace(path)
    return json.loads(path.read_text())
