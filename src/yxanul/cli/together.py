"""How one of several processes says why it ends: once for all, by the one whose fault it is."""

from __future__ import annotations

import os
import sys
import traceback

from yxanul.base.errors import causes_of
from yxanul.cli.app import error_facts, mistake_of
from yxanul.cli.output import print_json
from yxanul.train.parallel.launch import Ending, report_ending

_OF_OTHERS = ("gloo", "nccl", "connection closed by peer", "connection reset", "broken pipe")
"""Words in the errors of collectives when another process is gone."""


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
    ending = Ending(rank, code, text, is_accident=accident, follows=follows, facts=facts)
    if not report_ending(ending):
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
