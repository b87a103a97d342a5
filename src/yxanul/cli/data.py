"""`yxanul data`: inspect and verify shards."""

from __future__ import annotations

import typer

from yxanul.cli import data_show, data_verify

NAME = "data"
group = typer.Typer(
    name=NAME,
    help="Inspect and verify encoded text.",
    rich_markup_mode="markdown",
)
group.command(data_show.NAME, epilog=data_show.EXAMPLES)(data_show.command)
group.command(data_verify.NAME, epilog=data_verify.EXAMPLES)(data_verify.command)
