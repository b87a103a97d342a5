"""The application: its verbs, and what happens to errors."""

from __future__ import annotations

import sys

import typer

from yxanul.base.errors import YxanulError
from yxanul.cli import (
    data,
    doctor,
    evaluate,
    generate,
    prepare,
    run,
    schema,
    show,
    tokenizer,
    train,
)

app = typer.Typer(
    name="yxanul",
    help="Train small language models from scratch, in stages that have to prove themselves.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for verb in (run, prepare, train, evaluate, generate, show, schema, doctor):
    app.command(verb.NAME, epilog=verb.EXAMPLES)(verb.command)
for verbs in (tokenizer, data):
    app.add_typer(verbs.group, name=verbs.NAME)


def main() -> None:
    """Run a verb; an error a person can mend is one line and an exit code, never a traceback."""
    try:
        app()
    except YxanulError as error:
        sys.stderr.write(f"yxanul: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("yxanul: stopped\n")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"yxanul: {place}{error.strerror or error}\n")
        sys.exit(2)
