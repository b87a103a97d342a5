"""Bytes per token as a bar chart, in the terminal or in a file."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from yxanul.cli import chart

Figures = Mapping[str, Mapping[str, float]]
"""Bytes per token by domain and tokenizer."""


def bars(figures: Figures) -> str:
    """Return a bar for each tokenizer in each domain."""
    rows = [
        (f"{domain}  {name}", value)
        for domain, by_name in figures.items()
        for name, value in by_name.items()
    ]
    return "\n".join(["bytes per token", *chart.bars(rows, format="{:.2f}".format)])


def check_picture(file: Path) -> None:
    """Raise if the file cannot be drawn, before anything is measured."""
    from importlib.util import find_spec

    from yxanul.base.errors import YxanulError, missing_package

    if file.suffix.lower() not in (".svg", ".png"):
        raise YxanulError(f"--picture {file}", expected="a file that ends in .svg or .png")
    if find_spec("matplotlib") is None:
        raise missing_package("matplotlib", "plot")


def draw(file: Path, figures: Figures) -> None:
    """Write a bar chart grouped by domain as an .svg or .png file."""
    from matplotlib.figure import Figure

    from yxanul.base.files import atomic_file

    names = list(next(iter(figures.values())))
    share = 0.8 / len(names)
    figure = Figure(figsize=(max(6.0, 0.5 * len(names) * len(figures) + 2), 4), layout="tight")
    axes = figure.subplots()
    for index, name in enumerate(names):
        shift = (index - (len(names) - 1) / 2) * share
        values = [by_name[name] for by_name in figures.values()]
        positions = [number + shift for number in range(len(figures))]
        drawn = axes.bar(positions, values, share, label=name)
        axes.bar_label(drawn, fmt="%.2f", fontsize=7)
    axes.set_xticks(range(len(figures)), list(figures))
    axes.set_ylabel("bytes per token")
    axes.legend(fontsize=8)
    kind = file.suffix.lower()[1:]
    # Without a date the file is reproducible.
    image = BytesIO()
    figure.savefig(image, format=kind, metadata={"Date": None} if kind == "svg" else None)
    with atomic_file(file) as out:
        out.write(image.getvalue())
