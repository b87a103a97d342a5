"""`yxanul data`: look into shards, and verify them."""

from __future__ import annotations

import typer

from yxanul.cli import data_show, data_verify

NAME = "data"
group = typer.Typer(
    name=NAME,
    help="Look into encoded text, and verify it.",
    rich_markup_mode="markdown",
)
group.command(data_show.NAME, epilog=data_show.EXAMPLES, cls=data_show.Command)(data_show.command)
group.command(data_verify.NAME, epilog=data_verify.EXAMPLES)(data_verify.command)
