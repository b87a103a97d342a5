"""What both command lines have in common."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness.report import RESULTS
from harness.shapes import Shape, default_shapes

PRECISIONS = ["fp32", "bf16"]


def make_parser(
    description: str | None, shapes: Mapping[str, Shape], contenders: Mapping[str, Any]
) -> argparse.ArgumentParser:
    """Return a parser that knows the common options."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", choices=shapes, help="default: the device's")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS)
    parser.add_argument(
        "--contenders", nargs="+", choices=contenders, default=list(contenders), metavar="NAME"
    )
    parser.add_argument("--rounds", type=int, default=4, help="rounds of each contender")
    parser.add_argument("--seconds", type=float, default=2.0, help="a round lasts at least this")
    parser.add_argument("--threads", type=int, help="of torch; default: all cores")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    return parser


def fill_in(options: argparse.Namespace, shapes: Mapping[str, Shape]) -> argparse.Namespace:
    """Return the options with the device found, and the shapes that are meant for it."""
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    options.shapes = options.shapes or default_shapes(shapes, options.device)
    return options
