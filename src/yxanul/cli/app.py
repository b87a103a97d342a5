"""The application: its verbs, and what happens to errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

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

app = typer.Typer(
    name="yxanul",
    help="Train small language models from scratch, in stages that have to prove themselves.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for verb in (run, prepare, train, evaluate, generate, show, schema, doctor, verify_resume):
    app.command(verb.NAME, epilog=verb.EXAMPLES)(verb.command)
for verbs in (tokenizer, data):
    app.add_typer(verbs.group, name=verbs.NAME)


def main() -> None:
    """Run a verb."""
    guarded(app)


def guarded(work: Callable[[], object]) -> None:
    """Do it; an error a person can mend is one line and an exit code, never a traceback."""
    if "WORLD_SIZE" in os.environ:
        from yxanul.train.parallel.launch import end_with_parent

        end_with_parent()
    try:
        work()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except (Exception, Interrupted, KeyboardInterrupt) as error:
        if "WORLD_SIZE" in os.environ:
            from yxanul.cli.together import end_one_of_several

            sys.exit(end_one_of_several(error))
        line, code = line_of(error)
        if line is None:
            raise
        sys.stderr.write(f"yxanul: {line}\n")
        sys.exit(code)


def line_of(error: BaseException) -> tuple[str | None, int]:
    """Return what to say of an error, and the exit code; nothing to say of our own bug."""
    if isinstance(error, YxanulError | Interrupted):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "stopped", 130
    if isinstance(error, OSError) and not type(error).__module__.startswith("torch"):
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror or error}", 2
    return None, 1
