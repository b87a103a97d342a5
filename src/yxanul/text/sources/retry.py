"""Retry of transient faults, and conversion of persistent ones to YxanulError."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from yxanul.base.errors import YxanulError, causes_of, missing_package
from yxanul.text.sources.hub_query import HubQuery, has_class, is_offline, refusal

WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0)
QUICK_TRIES = 3
# The hub's rate limit has windows of five minutes; it sends the time to wait as Retry-After.
MAX_WAIT_SECONDS = 300.0
EXTRAS = {
    "fsspec": "data", "aiohttp": "data", "huggingface_hub": "data", "datasets": "data",
    "s3fs": "s3", "gcsfs": "gcs",
}  # fmt: skip
_TRANSIENT_STATUS = (408, 425, 429)
# Class names by which HTTP libraries and cloud clients report a failed connection.
_CONNECTION_ERRORS = (
    "ConnectionError", "TimeoutError", "Timeout", "TransportError", "FSTimeoutError", "gaierror",
    "SSLError", "SSHException", "ClientError", "HTTPClientError", "HTTPException", "ProtocolError",
    "ChunkedEncodingError", "IncompleteRead", "IncompleteReadError", "ChecksumError",
    "ServiceRequestError", "ServiceResponseError", "LocalEntryNotFoundError", "error_temp",
)  # fmt: skip
_TRANSIENT_ERRNO = (
    errno.EIO, errno.EBUSY, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH,
)  # fmt: skip
_ACCESS_HINTS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE; "
    "for a public bucket FSSPEC_S3_ANON=true",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or log in with gcloud",
    "gcs": "set GOOGLE_APPLICATION_CREDENTIALS, or log in with gcloud",
    "hf": "set HF_TOKEN to a token that may read it",
}

Target: TypeAlias = str | HubQuery
"""An address, or a dataset on the hub."""
Result = TypeVar("Result")


class Unreachable(YxanulError):
    """A transient fault in all attempts."""


def retry(
    action: Callable[[], Result],
    target: Target,
    *,
    client_waits: bool = False,
    quick: bool = False,
) -> Result:
    """Call `action`, retrying after transient faults, and return its result.

    Any other or persistent fault is raised as YxanulError, lest it look like the end of a file.
    A Retry-After header is honoured up to MAX_WAIT_SECONDS. `client_waits`: the client honours it
    itself, so that status 429 means that it has given up. `quick`: give up at the third try without
    any answer, as without a network.
    """
    for tries, wait in enumerate((*WAITS_SECONDS, None), start=1):
        try:
            return action()
        except (YxanulError, MemoryError):
            raise
        except Exception as error:
            hopeless = isinstance(target, HubQuery) and is_offline()
            hopeless = hopeless or (client_waits and status_of(error) == 429)
            hopeless = hopeless or (quick and tries == QUICK_TRIES and is_unanswered(error))
            if wait is None or hopeless or not is_transient(error, target):
                raise to_user_error(error, target, tries if quick else 0) from error
            time.sleep(max(wait, min(_retry_after(error), MAX_WAIT_SECONDS)))
    raise AssertionError("the last attempt returns or raises")


def is_unanswered(error: BaseException) -> bool:
    """Return whether no server was there, unlike one that is slow to answer."""
    is_slow = any(has_class(cause, "ReadTimeout") for cause in causes_of(error))
    return status_of(error) is None and not is_slow


def is_transient(error: BaseException, target: Target) -> bool:
    """Return whether a retry may help: an overloaded server or a failed connection."""
    causes = list(causes_of(error))
    status = status_of(error)
    if status is not None:
        return status >= 500 or status in _TRANSIENT_STATUS
    if any(
        has_class(cause, *_CONNECTION_ERRORS) or "LocalEntryNotFoundError" in str(cause)
        for cause in causes
    ):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _TRANSIENT_ERRNO
    if isinstance(target, HubQuery):  # `datasets` raises both for damaged files and full disks
        return "Consistency check failed" in str(error)
    return type(error) in (OSError, EOFError)  # of s3fs and of paramiko


def is_not_found(error: BaseException) -> bool:
    """Return whether the file system reported that there is no such file."""
    status = status_of(error)
    if status is not None:
        return status in (404, 410)
    return isinstance(error, FileNotFoundError)


def to_user_error(error: BaseException, target: Target, tries: int = 0) -> YxanulError:
    """Convert an error, after so many tries (0: all of them), to a YxanulError with a hint."""
    causes = list(causes_of(error))
    is_hub = isinstance(target, HubQuery)
    name = f"the dataset '{target.name}'" if is_hub else target
    if (
        is_hub
        and is_offline()
        and (is_transient(error, target) or isinstance(error, FileNotFoundError))
    ):
        return YxanulError(
            f"{name} is not in the cache, and offline mode is on",
            hint="unset HF_HUB_OFFLINE, or load the dataset once on a machine with the same cache",
        )
    if any(
        getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        or "Not enough disk space" in str(cause)
        for cause in causes
    ):
        return YxanulError(
            f"the disk is full: {name} does not fit",
            hint="set HF_HOME to a folder with space, or read without a download: streaming: true"
            if is_hub
            else None,
        )
    if isinstance(error, ImportError):
        return _missing_package(error)
    summary = _summary(causes)
    if is_transient(error, target):
        return Unreachable(
            f"the hub could not be reached for {name}" if is_hub else f"{name} could not be read",
            got=f"{summary}, after {tries or len(WAITS_SECONDS) + 1} tries",
            hint="check the network and start again; completed work is kept",
        )
    if is_hub:
        unknown = YxanulError(f"{name} cannot be loaded", got=summary)
        return refusal(target, causes) or unknown
    is_anonymous = any("Credentials" in type(cause).__name__ for cause in causes)
    if is_anonymous or isinstance(error, PermissionError) or status_of(error) in (401, 403):
        hint = _ACCESS_HINTS.get(name.partition("://")[0].lower(), "check its permissions")
        return YxanulError(f"no permission to read {name}", got=summary, hint=hint)
    if is_not_found(error):
        return YxanulError(f"there is no file or folder {name}")
    return YxanulError(f"{name} cannot be read", got=summary)


def _missing_package(error: ImportError) -> YxanulError:
    package = (getattr(error.__cause__, "name", None) or error.name or "").partition(".")[0]
    if package in EXTRAS:
        return missing_package(package, EXTRAS[package])
    if not package:
        return YxanulError("a package for this address is not installed", got=error)
    return YxanulError(f"the package '{package}' is not installed", hint=f"pip install {package}")


def _summary(causes: Sequence[BaseException]) -> str:
    """Return the class and first lines of the outermost error with a message."""
    telling = (c for c in causes if str(c).strip() and not has_class(c, "DatasetGenerationError"))
    error = next(telling, causes[0])
    lines = str(error).partition("For more information")[0].strip().splitlines()
    return f"{type(error).__name__}: {' '.join(lines[:2])}".removesuffix(": ")


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status in an error or its causes, whichever library raised it."""
    for cause in causes_of(error):
        response: Any = getattr(cause, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:
            status = getattr(response, "status_code", None) or getattr(cause, "status", None)
            if has_class(cause, "HttpError", "HTTPError"):  # of gcsfs, of urllib
                status = status or getattr(cause, "code", None)
        if isinstance(status, int):
            return status
    return None


def _retry_after(error: BaseException) -> float:
    """Return the seconds of a Retry-After header, or 0."""
    for cause in causes_of(error):
        headers = getattr(getattr(cause, "response", cause), "headers", None) or {}
        value = str(headers.get("Retry-After", "")).strip()
        if value.isdigit():
            return float(value)
    return 0.0
