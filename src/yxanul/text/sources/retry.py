"""Faults of the hub: patience with those that pass, plain words for the others."""

from __future__ import annotations

import ast
import errno
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from yxanul.base.errors import YxanulError, causes_of, near_miss
from yxanul.text.sources.hub_query import HubQuery

# The client itself tries some requests again; these waits come on top.
WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0)
# The hub counts requests in windows of five minutes, and says how long to wait for the next one.
LONGEST_WAIT_SECONDS = 300.0
_PASSING_STATUS = (408, 425, 429)
# The classes of every HTTP library that the hub's client has used.
_PASSING_CLASSES = ("TransportError", "ConnectionError", "TimeoutError", "Timeout")
# What the client says of a connection that was cut, or an answer that never came, in words alone.
_PASSING_WORDS = ("LocalEntryNotFoundError", "Consistency check failed")

Result = TypeVar("Result")


class HubUnreachable(YxanulError):
    """The hub gave no answer, or only bad ones, for as long as it was asked."""


def patiently(
    wanted: HubQuery, action: Callable[[], Result], sleep: Callable[[float], None] = time.sleep
) -> Result:
    """Return what `action` returns, called again after each passing fault.

    What remains is a YxanulError: a fault of the line must not look like the end of a file.
    """
    for wait in (*WAITS_SECONDS, None):
        try:
            return action()
        except YxanulError:
            raise
        except Exception as error:
            if wait is None or is_offline() or not is_passing(error):
                raise explained(wanted, error) from error
            sleep(max(wait, min(_asked_wait(error), LONGEST_WAIT_SECONDS)))
    raise AssertionError("the last turn returns or raises")


def is_offline() -> bool:
    """Tell whether the user has forbidden requests."""
    words = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"))
    return any(word.upper() in ("1", "ON", "YES", "TRUE") for word in words)


def is_passing(error: BaseException) -> bool:
    """Tell whether trying again may help: the server is busy or broken, or the line is."""
    causes = list(causes_of(error))
    statuses = [status for cause in causes if (status := _status(cause))]
    if statuses:
        return statuses[0] >= 500 or statuses[0] in _PASSING_STATUS
    return any(
        _has_class(cause, *_PASSING_CLASSES) or any(words in str(cause) for words in _PASSING_WORDS)
        for cause in causes
    )


def explained(wanted: HubQuery, error: BaseException) -> YxanulError:
    """Return what went wrong in words that say what to do."""
    causes = list(causes_of(error))
    for explain in (_switched_off, _refused, _full_disk, _silent, _wrong_choice):
        if answer := explain(wanted, causes):
            return answer
    return YxanulError(f"the data set '{wanted.name}' cannot be loaded", found=_first_lines(causes))


def wrong_choice(what: str, wanted: str, choices: Sequence[str], setting: str) -> YxanulError:
    """Return the error for a name that is none of the `choices`."""
    hint = near_miss(wanted, choices) or f"choose one with {setting}"
    return YxanulError(what, wanted=_listed(choices), hint=hint)


def _switched_off(wanted: HubQuery, causes: Sequence[BaseException]) -> YxanulError | None:
    missing = is_passing(causes[0]) or isinstance(causes[0], FileNotFoundError)
    if not (is_offline() and missing):
        return None
    return YxanulError(
        f"the data set '{wanted.name}' is not on this machine, and the hub is switched off",
        hint="unset HF_HUB_OFFLINE, or load the set once on a machine with the same cache",
    )


def _refused(wanted: HubQuery, causes: Sequence[BaseException]) -> YxanulError | None:
    """Say what the hub refuses; the most telling signs come first."""
    name = wanted.name
    missing = YxanulError(
        f"the hub has no data set '{name}', or hides it",
        hint="check owner and name; if the set is private, set HF_TOKEN",
    )
    gated = YxanulError(
        f"the data set '{name}' is gated",
        hint="ask for access on its page, then set HF_TOKEN to a token of that account",
    )
    answers = {
        "Invalid credentials": YxanulError(
            f"the hub does not accept the token for '{name}'",
            hint="set HF_TOKEN to a valid token, or call 'hf auth login'",
        ),
        "GatedRepoError": gated,
        "gated dataset": gated,
        "RevisionNotFoundError": YxanulError(
            f"the data set '{name}' has no revision '{wanted.revision}'",
            wanted="a branch, a tag or a commit",
        ),
        "DisabledRepoError": YxanulError(f"the hub has switched the data set '{name}' off"),
        "HFValidationError": YxanulError(
            f"'{name}' is no name of a data set",
            wanted="owner/name, such as roneneldan/TinyStories",
        ),
        "DatasetNotFoundError": missing,
        "RepositoryNotFoundError": missing,
        "403 Forbidden": YxanulError(
            f"the data set '{name}' may not be read",
            found="403 Forbidden",
            hint="set HF_TOKEN to a token that may read it",
        ),
    }
    found = (sign for sign in answers if any(_shows(cause, sign) for cause in causes))
    return next((answers[sign] for sign in found), None)


def _full_disk(wanted: HubQuery, causes: Sequence[BaseException]) -> YxanulError | None:
    if not any(getattr(c, "errno", None) in (errno.ENOSPC, errno.EDQUOT) for c in causes):
        return None
    return YxanulError(
        f"the disk is full: '{wanted.name}' does not fit",
        hint="set HF_HOME to a folder with room, or read without a download: streaming: true",
    )


def _silent(wanted: HubQuery, causes: Sequence[BaseException]) -> YxanulError | None:
    if not is_passing(causes[0]):
        return None
    return HubUnreachable(
        f"the hub could not be reached for the data set '{wanted.name}'",
        found=f"{_first_lines(causes)}, after {len(WAITS_SECONDS) + 1} tries",
        hint="check the network and start again: what is done is kept",
    )


def _wrong_choice(wanted: HubQuery, causes: Sequence[BaseException]) -> YxanulError | None:
    """Say what there is in place of what `datasets` did not find."""
    text, name = str(causes[0]), wanted.name
    listed = re.search(r"\[\s*'.*?\]", text, re.DOTALL)
    choices = ast.literal_eval(listed[0]) if listed else []
    if "onfig" in text and choices:
        lacks = f"has no configuration '{wanted.config}'" if wanted.config else "has several"
        what = f"the data set '{name}' {lacks}" + ("" if wanted.config else " configurations")
        return wrong_choice(what, wanted.config or "", choices, "config")
    if "split" in text.lower() and choices:
        what = f"the data set '{name}' has no split '{wanted.split}'"
        return wrong_choice(what, wanted.split, choices, "split")
    if "script" in text:
        return YxanulError(
            f"the data set '{name}' needs a script, which the library no longer runs",
            hint="revision: refs/convert/parquet often has the same set without a script",
        )
    if _shows(causes[0], "EmptyDatasetError") or _shows(causes[0], "DataFilesNotFoundError"):
        return YxanulError(f"the data set '{name}' has no data files that can be read")
    return None


def _asked_wait(error: BaseException) -> float:
    """Return how many seconds the server asks to wait; 0 if it asks for none."""
    for cause in causes_of(error):
        headers = getattr(getattr(cause, "response", None), "headers", None) or {}
        value = str(headers.get("Retry-After", "")).strip()
        if value.isdigit():
            return float(value)
    return 0.0


def _first_lines(causes: Sequence[BaseException]) -> str:
    """Return the first lines of the outermost error that says more than that there was one."""
    telling = [cause for cause in causes if not _has_class(cause, "DatasetGenerationError")]
    error = (telling or causes)[0]
    lines = str(error).partition("For more information")[0].strip().splitlines()
    return " ".join(lines[:2]) or type(error).__name__


def _listed(choices: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(f"'{choice}'" for choice in choices[:most])
    return shown if len(choices) <= most else f"{shown} and {len(choices) - most} more"


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _shows(error: BaseException, sign: str) -> bool:
    return _has_class(error, sign) or sign in str(error)


def _has_class(error: BaseException, *names: str) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)
