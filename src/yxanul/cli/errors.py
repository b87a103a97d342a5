"""What becomes of an error: one line, or one object, and an exit code.

Of several processes one says why all end: the one whose fault it is.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import typer

from yxanul.base.errors import Interrupted, YxanulError, causes_of
from yxanul.cli.output import print_json
from yxanul.train.parallel.worker_group import ExitReport, write_exit_report

UsageError: Any = typer.BadParameter.__base__
"""What is wrong with a command line; where the class lives depends on the version of typer."""
_OF_OTHERS = ("gloo", "nccl", "connection closed by peer", "connection reset", "broken pipe")
"""Words in the errors of collectives when another process is gone."""


@contextlib.contextmanager
def guarded(as_json: bool = False) -> Iterator[None]:
    """An error in the block that a person can mend is a line and an exit code, no traceback."""
    if "WORLD_SIZE" in os.environ:
        from yxanul.train.parallel.worker_group import end_with_parent

        end_with_parent()
    try:
        yield
    except typer.Exit as end:  # after --help or --version
        sys.exit(end.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except (Exception, Interrupted, KeyboardInterrupt) as error:
        if "WORLD_SIZE" in os.environ:
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
        name = error.filename2 or error.filename  # of two, what the first was to become
        place = f"{name}: " if name else ""
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
        "got": mistake.got,
        "expected": mistake.expected,
        "hint": mistake.hint,
        "where": place and place[1],
    }
    told = {name: None if part is None else str(part) for name, part in parts.items()}
    return {"error": told, "exit_code": mistake.exit_code} | mistake.facts


def end_one_of_several(error: BaseException) -> int:
    """Tell the process that started this one, or stderr, why it ends; return the exit code."""
    rank = int(os.environ.get("RANK", "0"))
    mistake, facts = mistake_of(error), error_facts(error)
    follows = mistake is None and is_of_another(error)
    accident = mistake is None or mistake.is_accident
    text = str(mistake or "".join(traceback.format_exception(error)).rstrip())
    if follows:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        text = f"stopped, it seems since another process is gone ({reason})"
    code = facts["exit_code"]
    ending = ExitReport(rank, code, text, is_accident=accident, follows=follows, facts=facts)
    if not write_exit_report(ending):
        sys.stderr.write(f"yxanul: process {rank}: {text}\n")
        if rank == 0 and "--json" in sys.argv:
            print_json(facts)
    return code


def is_of_another(error: BaseException) -> bool:
    """Say whether an error only means that a process that this one worked with has ended."""
    return any(
        type(one).__name__.startswith("Dist")
        or (isinstance(one, RuntimeError) and any(word in str(one).lower() for word in _OF_OTHERS))
        for one in causes_of(error)
    )
