"""Comparisons over shapes and precisions: what the benchmarks of one step and of decoding share."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from harness import report
from harness.contenders import Contenders
from harness.shapes import Shape, default_shapes
from peers import Peer
from peers.ours import write_weights

Row = dict[str, Any]


def make_parser(
    description: str | None, table: Mapping[str, Peer], shapes: Mapping[str, Shape]
) -> argparse.ArgumentParser:
    """Return a parser with the options of a benchmark that goes through shapes and precisions."""
    parser = report.make_parser(description)
    report.add_contenders(parser, table, rounds=4)
    parser.add_argument("--shapes", nargs="+", choices=shapes, help="default: the device's")
    parser.add_argument("--precisions", nargs="+", choices=report.PRECISIONS)
    parser.add_argument("--seconds", type=float, default=2.0, help="a round lasts at least this")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=["cpu", "cuda"], default=device)
    return parser


@contextmanager
def opened(
    call: str, table: Mapping[str, Peer], shape: Shape, job: Row, names: list[str]
) -> Iterator[tuple[Contenders, dict[str, Row]]]:
    """Give the contenders, each with its process and the same start weights, and what each says of
    itself; `call` is what a process makes of the job."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Contenders(table, names, shape.kind, job["device"]) as group,
    ):
        write_weights(shape, Path(folder), job["seed"])
        common = {**job, "weights": folder}
        yield group, group.each(lambda name: group.open(name, call, common | {"contender": name}))


def job_of(work: str, shape: str, precision: str, options: argparse.Namespace) -> Row:
    """Return what all contenders of a comparison are told, and the result file says of it."""
    return {
        "work": work,
        "shape": shape,
        "precision": precision,
        "device": options.device,
        "threads": options.threads,
        "seed": options.seed,
    }


def compare_all(
    work: str,
    shapes: Mapping[str, Shape],
    options: argparse.Namespace,
    compare: Callable[[str, str, argparse.Namespace], list[Row]],
) -> int:
    """Compare in every shape and precision, and write a result file for each shape; return 1 if a
    comparison had no result."""
    failed = False
    for name in options.shapes or default_shapes(shapes, options.device):
        rows: list[Row] = []
        for precision in options.precisions or report.PRECISIONS:
            found = compare(name, precision, options)
            failed |= not found
            rows += found
        if rows:
            report.write_results(options, f"{work}-{name}", {"rows": rows}, options.device)
    return int(failed)
