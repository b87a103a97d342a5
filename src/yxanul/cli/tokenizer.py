"""`yxanul tokenizer`: train, show and compare tokenizers."""

from __future__ import annotations

import typer

from yxanul.cli import tokenizer_compare, tokenizer_show, tokenizer_train

NAME = "tokenizer"
group = typer.Typer(
    name=NAME,
    help="Train, show and compare tokenizers.",
    rich_markup_mode="markdown",
)
for verb in (tokenizer_train, tokenizer_show, tokenizer_compare):
    group.command(verb.NAME, epilog=verb.EXAMPLES)(verb.command)
