"""Files behind an fsspec address (s3://, gs://, https://, hf://, memory:// ...)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from yxanul.base.errors import YxanulError, causes_of, missing_package

# The backends try again by themselves as well; these come on top.
WAITS_SECONDS = (0.5, 2.0, 8.0)
CONNECT_SECONDS = 30.0
SILENCE_SECONDS = 60.0
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_PASSING_STATUS = (408, 425, 429)
_EXTRAS = {
    "fsspec": "data", "aiohttp": "data", "huggingface_hub": "data", "s3fs": "s3", "gcsfs": "gcs",
}  # fmt: skip
# What tells of another content, by the names that the backends use, the surest first.
_MARKS = (
    "ETag", "etag", "blob_id", "Content-MD5", "md5Hash", "content_md5", "crc32c", "Digest",
    "version_id", "Last-Modified", "LastModified", "last_modified", "updated", "mtime", "created",
)  # fmt: skip
_HINTS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE; "
    "for a public bucket FSSPEC_S3_ANON=true",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS, or log in with gcloud",
    "hf": "set HF_TOKEN to a token that may read it",
}

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file system says of one file."""

    address: str
    size_bytes: int | None
    fingerprint: str


def is_remote(path: str) -> bool:
    """Tell whether `path` is an address rather than a path of this machine."""
    return bool(_ADDRESS.match(path)) and protocol_of(path) not in ("file", "local")


def protocol_of(address: str) -> str:
    """Return what stands before "://"."""
    return address.partition("://")[0].lower()


def file_system(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the address as that system writes it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise missing_package("fsspec", "data") from None
    try:
        return url_to_fs(address, **_options(protocol_of(address)))
    except ImportError as error:
        raise _missing(error) from None
    except ValueError as error:
        raise YxanulError(f"{address} cannot be read", got=_line(error)) from None


def _options(protocol: str) -> dict[str, Any]:
    if protocol not in ("http", "https"):
        return {}
    try:
        import aiohttp
    except ImportError:
        raise missing_package("aiohttp", "data") from None
    # The usual bound on the whole answer would end a long one; a silent line must end.
    patience = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
    )
    # Bytes packed on the way would not be those that the size and the ranges speak of.
    return {"client_kwargs": {"timeout": patience, "headers": {"Accept-Encoding": "identity"}}}


def _missing(error: ImportError) -> YxanulError:
    cause = error.__cause__
    package = (getattr(cause, "name", None) or error.name or "").partition(".")[0]
    if package in _EXTRAS:
        return missing_package(package, _EXTRAS[package])
    if not package:
        return YxanulError("a package for this address is not installed", got=_line(error))
    return YxanulError(f"the package '{package}' is not installed", hint=f"pip install {package}")


def patiently(
    action: Callable[[int], Result], address: str, sleep: Callable[[float], None] = time.sleep
) -> Result:
    """Return what `action` returns, called again after each passing fault with the next number.

    What remains is a YxanulError: a fault of the line must not look like the end of a file.
    """
    for number, wait in enumerate((*WAITS_SECONDS, None)):
        try:
            return action(number)
        except (YxanulError, MemoryError):
            raise
        except Exception as error:
            if wait is None or not is_passing(error):
                raise explained(error, address) from error
            sleep(wait)
    raise AssertionError("the last turn returns or raises")


def entry_of(system: Any, name: str, info: dict[str, Any] | None = None) -> Entry:
    """Return what `system` says of the file `name`; nothing is taken from a cache."""
    known: dict[str, Any] = info or system.info(name)
    mark = next((str(known[key]) for key in _MARKS if known.get(key)), "")
    size = known.get("size")
    return Entry(system.unstrip_protocol(name), size, f"{size}-{mark}")


def is_passing(error: BaseException) -> bool:
    """Tell whether trying again may help: the server is busy or broken, or the line is."""
    status = _status(error)
    if status is not None:
        return status >= 500 or status in _PASSING_STATUS
    if _tells_of_the_line(error):
        return True
    final = (FileNotFoundError, PermissionError, IsADirectoryError, ImportError)
    return not isinstance(error, final) and not _lacks_credentials(error)


def explained(error: BaseException, address: str) -> YxanulError:
    """Return what went wrong in words that say what to do."""
    status = _status(error)
    protocol = protocol_of(address)
    if status in (401, 403) or isinstance(error, PermissionError) or _lacks_credentials(error):
        hint = _HINTS.get("gs" if protocol == "gcs" else protocol, "check who may read it")
        return YxanulError(f"{address} may not be read", got=_line(error), hint=hint)
    if is_not_there(error):
        return YxanulError(f"there is no file or folder {address}")
    if isinstance(error, ImportError):
        return _missing(error)
    if status is not None and not is_passing(error):
        return YxanulError(f"{address} cannot be read", got=_line(error))
    return YxanulError(
        f"{address} could not be read",
        got=f"{_line(error)}, after {len(WAITS_SECONDS) + 1} tries",
        hint="check the network and start again: what is done is kept",
    )


def is_not_there(error: BaseException) -> bool:
    """Tell whether the file system answered that there is no such file."""
    status = _status(error)
    if status is not None:
        return status in (404, 410)
    return isinstance(error, FileNotFoundError) and not _tells_of_the_line(error)


def _tells_of_the_line(error: BaseException) -> bool:
    """Tell whether a fault of the connection stands behind an error, whatever its own class."""
    classes = (ConnectionError, TimeoutError, asyncio.TimeoutError)
    names = ("ClientError", "TransportError", "Timeout", "ConnectionError", "FSTimeoutError")
    return any(
        isinstance(cause, classes) or any(kind.__name__ in names for kind in type(cause).__mro__)
        for cause in causes_of(error)
    )


def _lacks_credentials(error: BaseException) -> bool:
    names = [type(cause).__name__ for cause in causes_of(error)]
    return any("Credentials" in name for name in names)


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error tells of, whichever library raised it."""
    for cause in causes_of(error):
        answer = getattr(cause, "response", None)
        if isinstance(answer, dict):
            found = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        else:
            found = getattr(answer, "status_code", None) or getattr(cause, "status", None)
        if isinstance(found, int):
            return found
    return None


def _line(error: BaseException) -> str:
    """Return the first line of the innermost error, which says the most."""
    *_, inner = causes_of(error)
    text = str(inner).strip().splitlines() or [""]
    return f"{type(inner).__name__}: {text[0]}".removesuffix(": ")
