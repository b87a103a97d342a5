"""Error reporting: one line or one JSON object, and an exit code.

Of several processes only the one at fault is reported.
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
"""Base class of command-line errors; its module depends on the version of typer."""
_PEER_GONE = ("gloo", "nccl", "connection closed by peer", "connection reset", "broken pipe")
"""Substrings of a collective's error when a peer process is gone."""


@contextlib.contextmanager
def handle_errors(as_json: bool = False) -> Iterator[None]:
    """Context manager: turn a user error into one line and an exit code, without a traceback."""
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
            sys.exit(end_worker(error))
        mistake = mistake_of(error)
        if as_json:
            print_json(error_facts(error))
        if mistake is None:
            raise
        sys.stderr.write(f"yxanul: {mistake}\n")
        sys.exit(mistake.exit_code)


def mistake_of(error: BaseException) -> YxanulError | None:
    """Return an error as a `YxanulError`; None if it is a bug of ours."""
    if isinstance(error, YxanulError):
        return error
    if isinstance(error, Interrupted | KeyboardInterrupt):
        is_ours = isinstance(error, Interrupted)
        stop = YxanulError(error.what, hint=error.hint) if is_ours else YxanulError("stopped")
        stop.exit_code = error.exit_code if is_ours else 128 + signal.SIGINT
        return stop
    if isinstance(error, UsageError):
        return _of_usage(error)
    if isinstance(error, OSError) and not type(error).__module__.startswith("torch"):
        name = error.filename2 or error.filename  # of a rename, the destination
        prefix = f"{name}: " if name else ""
        return YxanulError(f"{prefix}{error.strerror or error}")
    return None


def _of_usage(error: Any) -> YxanulError:
    """Return typer's error without its capital and its full stop."""
    what = error.format_message().rstrip(".").replace("Input should be", "it must be")
    path = error.ctx.command_path if error.ctx else "yxanul"
    return YxanulError(what[:1].lower() + what[1:], hint=f"see {path} --help")


def error_facts(error: BaseException) -> dict[str, Any]:
    """Return the --json object of an error: its fields, the exit code, the facts known so far."""
    mistake = mistake_of(error)
    if mistake is None:
        what = f"{type(error).__name__}: {error}".rstrip(": ")
        mistake = YxanulError(what, hint="this is a bug in yxanul; the traceback is on stderr")
        mistake.exit_code = 1
    location = re.match(r"(\S.*?:\d+:\d+): ", mistake.what)
    fields = {
        "message": mistake.what,
        "got": mistake.got,
        "expected": mistake.expected,
        "hint": mistake.hint,
        "where": location and location[1],
    }
    error_fields = {name: None if value is None else str(value) for name, value in fields.items()}
    return {"error": error_fields, "exit_code": mistake.exit_code} | mistake.facts


def end_worker(error: BaseException) -> int:
    """Report why this worker ends to its launcher, else on stderr; return the exit code."""
    rank = int(os.environ.get("RANK", "0"))
    mistake, facts = mistake_of(error), error_facts(error)
    follows = mistake is None and is_peer_gone(error)
    retryable = mistake is None or mistake.is_retryable
    text = str(mistake or "".join(traceback.format_exception(error)).rstrip())
    if follows:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        text = f"stopped, probably because another process is gone ({reason})"
    code = facts["exit_code"]
    report = ExitReport(rank, code, text, is_retryable=retryable, follows=follows, facts=facts)
    if not write_exit_report(report):
        sys.stderr.write(f"yxanul: process {rank}: {text}\n")
        if rank == 0 and "--json" in sys.argv:
            print_json(facts)
    return code


def is_peer_gone(error: BaseException) -> bool:
    """Return whether an error only means that a peer process has ended."""
    return any(
        type(cause).__name__.startswith("Dist")
        or (
            isinstance(cause, RuntimeError)
            and any(word in str(cause).lower() for word in _PEER_GONE)
        )
        for cause in causes_of(error)
    )
