"""The typer application: a table of its subcommands."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from yxanul.cli import (
    data_show,
    data_verify,
    doctor,
    evaluate,
    generate,
    prepare,
    report,
    run,
    schema,
    show,
    tokenizer_compare,
    tokenizer_show,
    tokenizer_train,
    train,
    verify_resume,
    watch,
)

VERBS = (
    run, prepare, train, evaluate, generate, show, watch, report, schema, doctor, verify_resume,
)  # fmt: skip
GROUPS = {
    "tokenizer": (
        "Train, show and compare tokenizers.",
        (tokenizer_train, tokenizer_show, tokenizer_compare),
    ),
    "data": ("Inspect and verify encoded text.", (data_show, data_verify)),
}

app = typer.Typer(
    name="yxanul",
    help="Train small language models from scratch, in stages that end with a gate.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)


def add(group: typer.Typer, verb: Any) -> None:
    """Add the command of a module, with its examples, one a line."""
    examples = (f"`{line}`" for line in verb.EXAMPLES.strip().splitlines())
    epilog = "\n\n".join(["**Examples**", *examples])
    group.command(verb.NAME, epilog=epilog)(verb.command)


for verb in VERBS:
    add(app, verb)
for name, (about, verbs) in GROUPS.items():
    group = typer.Typer(name=name, help=about, rich_markup_mode="markdown")
    for verb in verbs:
        add(group, verb)
    app.add_typer(group)


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


def hide_type_of_help(command: Any, parent: Any = None) -> None:
    """Let help pages show --help without a type, like the other flags, for a command and those
    below it."""
    context = command.context_class(command, parent, **command.context_settings)
    command.get_help_option(context).metavar = ""
    for one in getattr(command, "commands", {}).values():
        hide_type_of_help(one, context)
