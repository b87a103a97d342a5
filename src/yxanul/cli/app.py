"""The application: its verbs, and what happens to errors."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from yxanul.base.errors import Interrupted, YxanulError
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
    verify_resume,
)
from yxanul.cli.output import only_json_on_stdout, print_json

app = typer.Typer(
    name="yxanul",
    help="Train small language models from scratch, in stages that have to prove themselves.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
UsageError: Any = typer.BadParameter.__base__
"""What is wrong with a command line; where the class lives depends on the version of typer."""
for verb in (run, prepare, train, evaluate, generate, show, schema, doctor, verify_resume):
    app.command(verb.NAME, epilog=verb.EXAMPLES)(verb.command)
for verbs in (tokenizer, data):
    app.add_typer(verbs.group, name=verbs.NAME)


def print_version(wanted: bool) -> None:
    """Print the version and end, if that is what was asked for."""
    if wanted:
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
    """Options of the program itself."""


def main() -> None:
    """Run a verb."""
    as_json = "--json" in sys.argv
    with only_json_on_stdout() if as_json else contextlib.nullcontext():
        guarded(run_verb, as_json)


def run_verb() -> None:
    """Parse the command line and do what it asks for; errors are left to the caller."""
    command = typer.main.get_command(app)
    with command.make_context("yxanul", sys.argv[1:] or ["--help"]) as context:
        command.invoke(context)
        context.exit()


def guarded(work: Callable[[], object], as_json: bool = False) -> None:
    """Do it; an error a person can mend is one line and an exit code, never a traceback."""
    if "WORLD_SIZE" in os.environ:
        from yxanul.train.parallel.launch import end_with_parent

        end_with_parent()
    try:
        work()
    except typer.Exit as end:  # after --help or --version
        sys.exit(end.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except (Exception, Interrupted, KeyboardInterrupt) as error:
        if "WORLD_SIZE" in os.environ:
            from yxanul.cli.together import end_one_of_several

            sys.exit(end_one_of_several(error))
        mistake = mistake_of(error)
        if as_json:
            print_json(error_facts(error))
        if mistake is None:
            raise
        sys.stderr.write(f"yxanul: {mistake}\n")
        sys.exit(mistake.exit_code)


def mistake_of(error: BaseException) -> YxanulError | None:
    """Return an error as one that a person can mend; None if it is our own bug."""
    if isinstance(error, YxanulError):
        return error
    if isinstance(error, Interrupted | KeyboardInterrupt):
        is_ours = isinstance(error, Interrupted)
        told = YxanulError(error.what, hint=error.hint) if is_ours else YxanulError("stopped")
        told.exit_code = error.exit_code if is_ours else 128 + signal.SIGINT
        return told
    if isinstance(error, UsageError):
        return _of_usage(error)
    if isinstance(error, OSError) and not type(error).__module__.startswith("torch"):
        place = f"{error.filename}: " if error.filename else ""
        return YxanulError(f"{place}{error.strerror or error}")
    return None


def _of_usage(error: Any) -> YxanulError:
    """Return what typer says of a command line, without its capital and its full stop."""
    what = error.format_message().rstrip(".").replace("Input should be", "it must be")
    path = error.ctx.command_path if error.ctx else "yxanul"
    return YxanulError(what[:1].lower() + what[1:], hint=f"see {path} --help")


def error_facts(error: BaseException) -> dict[str, Any]:
    """Return what --json says of an error: its parts, the exit code, and what was found before."""
    mistake = mistake_of(error)
    if mistake is None:
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        mistake = YxanulError(what, hint="this is a bug of yxanul; the traceback is on stderr")
        mistake.exit_code = 1
    place = re.match(r"(\S.*?:\d+:\d+): ", mistake.what)
    parts = {
        "message": mistake.what,
        "got": mistake.found,
        "expected": mistake.wanted,
        "hint": mistake.hint,
        "where": place and place[1],
    }
    told = {name: None if part is None else str(part) for name, part in parts.items()}
    return {"error": told, "exit_code": mistake.exit_code} | mistake.facts
