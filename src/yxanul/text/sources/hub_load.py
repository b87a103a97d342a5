"""Loading a data set of the hub: patience with passing faults, plain words for the others."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from yxanul.base.errors import YxanulError, missing_package

if TYPE_CHECKING:
    from datasets import Dataset

# The client itself has tried each request several times before an error comes here.
WAITS_SECONDS = (2.0, 8.0)
_PASSING_STATUS = (408, 429, 500, 502, 503, 504)
# The classes of every HTTP library that the hub's client has used.
_PASSING_CLASSES = ("TransportError", "ConnectionError", "TimeoutError", "Timeout")


class Wanted(NamedTuple):
    """What is asked of the hub: all that decides which rows come."""

    name: str
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    data_files: str | tuple[str, ...] | None = None


@lru_cache(maxsize=8)
def load_once(wanted: Wanted) -> Dataset:
    """Return the data set, downloaded and built the first time; one process opens it once."""
    try:
        import datasets
    except ImportError:
        raise missing_package("datasets", "data") from None
    return load(wanted, datasets.load_dataset)


def load(
    wanted: Wanted,
    load_dataset: Callable[..., Any],
    sleep: Callable[[float], None] = time.sleep,
) -> Dataset:
    """Call `load_dataset`, again after each passing fault; what remains is a YxanulError.

    The token is the client's own: HF_TOKEN, or that of `hf auth login`.
    """
    files = wanted.data_files
    options = {
        "split": wanted.split,
        "revision": wanted.revision,
        "data_files": list(files) if isinstance(files, tuple) else files,
    }
    for wait in (*WAITS_SECONDS, None):
        try:
            return load_dataset(wanted.name, wanted.config, **options)
        except Exception as error:
            if wait is None or is_offline() or not is_passing(error):
                raise explained(wanted, error) from error
            sleep(wait)
    raise AssertionError("the last turn returns or raises")


def is_offline() -> bool:
    """Tell whether the user has forbidden requests."""
    words = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"))
    return any(word.upper() in ("1", "ON", "YES", "TRUE") for word in words)


def is_passing(error: BaseException) -> bool:
    """Tell whether trying again may help: the server is busy or broken, or the line is."""
    statuses = [status for cause in _causes(error) if (status := _status(cause))]
    if statuses:
        return statuses[0] in _PASSING_STATUS
    causes = list(_causes(error))
    # `datasets` tells of this one in the text alone: the hub gave no answer to the first request.
    return any("LocalEntryNotFoundError" in str(cause) for cause in causes) or any(
        _has_class(cause, *_PASSING_CLASSES) for cause in causes
    )


def explained(wanted: Wanted, error: BaseException) -> YxanulError:
    """Return what went wrong in words that say what to do."""
    name = wanted.name
    causes = list(_causes(error))
    if is_offline() and (is_passing(error) or isinstance(error, FileNotFoundError)):
        return YxanulError(
            f"the data set '{name}' is not on this machine, and the hub is switched off",
            hint="unset HF_HUB_OFFLINE, or load the set once on a machine with the same cache",
        )
    for sign, answer in _answers(wanted).items():
        if any(_has_class(cause, sign) or sign in str(cause) for cause in causes):
            return answer
    if any(getattr(cause, "errno", None) == errno.ENOSPC for cause in causes):
        return YxanulError(
            f"the disk is full: '{name}' does not fit", hint="set HF_HOME to a folder with room"
        )
    if is_passing(error):
        return YxanulError(
            f"the hub could not be reached for the data set '{name}'",
            found=_first_lines(causes),
            hint="check the network and try again, or read parquet files at hand: kind: parquet",
        )
    return YxanulError(
        f"the data set '{name}' cannot be loaded", found=_first_lines(causes), hint=_hint(causes)
    )


def _answers(wanted: Wanted) -> dict[str, YxanulError]:
    """Return what to say about each class or wording of an error, the most telling first."""
    missing = YxanulError(
        f"the hub has no data set '{wanted.name}', or hides it",
        hint="check owner and name; if the set is private, set HF_TOKEN",
    )
    return {
        "gated dataset": YxanulError(
            f"the data set '{wanted.name}' is gated",
            hint="ask for access on its page, then set HF_TOKEN to a token of that account",
        ),
        "RevisionNotFoundError": YxanulError(
            f"the data set '{wanted.name}' has no revision '{wanted.revision}'"
        ),
        "DatasetNotFoundError": missing,
        "RepositoryNotFoundError": missing,
    }


def _hint(causes: Sequence[BaseException]) -> str | None:
    text = str(causes[0]).lower()
    hints = {
        "data_files": "check data_files",
        "script": "revision: refs/convert/parquet often has the same set without a script",
        "split": "choose one with split",
        "config": "choose one with config",
    }
    return next((hint for word, hint in hints.items() if word in text), None)


def _first_lines(causes: Sequence[BaseException]) -> str:
    """Return the first lines of the outermost error that says more than that there was one."""
    telling = [cause for cause in causes if not _has_class(cause, "DatasetGenerationError")]
    error = (telling or causes)[0]
    return " ".join(str(error).strip().splitlines()[:2]) or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from, outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _has_class(error: BaseException, *names: str) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)
