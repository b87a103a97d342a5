"""The typer application and its subcommands."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated, Any

import typer

from yxanul.cli import (
    data,
    doctor,
    evaluate,
    generate,
    prepare,
    report,
    run,
    schema,
    show,
    tokenizer,
    train,
    verify_resume,
    watch,
)
from yxanul.cli.errors import guarded
from yxanul.cli.output import only_json_on_stdout

app = typer.Typer(
    name="yxanul",
    help="Train small language models from scratch, in stages that end with a gate.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
verbs_alone = (
    run, prepare, train, evaluate, generate, show, watch, report, schema, doctor, verify_resume,
)  # fmt: skip
for verb in verbs_alone:
    app.command(verb.NAME, epilog=verb.EXAMPLES)(verb.command)
for verbs in (tokenizer, data):
    app.add_typer(verbs.group, name=verbs.NAME)


def print_version(given: bool) -> None:
    """Print the version and exit if --version is given."""
    if given:
        from importlib.metadata import version

        typer.echo(f"yxanul {version('yxanul')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", help="Show the version and exit.", callback=print_version
        ),
    ] = False,
) -> None:
    """Declare the options of the program itself."""


def main() -> None:
    """Run the command line; turn errors into one line or object and an exit code."""
    as_json = "--json" in sys.argv
    with only_json_on_stdout() if as_json else contextlib.nullcontext(), guarded(as_json):
        run_verb()


def run_verb() -> None:
    """Parse the command line and run its subcommand; errors propagate."""
    command = typer.main.get_command(app)
    hide_type_of_help(command)
    with command.make_context("yxanul", sys.argv[1:] or ["--help"]) as context:
        command.invoke(context)
        context.exit()


def hide_type_of_help(command: Any, parent: Any = None) -> None:
    """Let help pages show --help without a type, like the other flags, for a command and those
    below it."""
    context = command.context_class(command, parent, **command.context_settings)
    command.get_help_option(context).metavar = ""
    for one in getattr(command, "commands", {}).values():
        hide_type_of_help(one, context)
