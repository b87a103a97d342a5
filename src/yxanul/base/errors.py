"""Errors that a person can mend: each becomes one line and an exit code on the command line."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


class YxanulError(Exception):
    """Something the user can mend: what is wrong, what it got, what it expected, a hint."""

    exit_code = 2
    is_accident = False
    """True where nobody got anything wrong, so that trying again may help."""

    def __init__(
        self,
        what: str,
        *,
        got: object = None,
        expected: object = None,
        hint: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ):
        self.what, self.got, self.expected, self.hint = what, got, expected, hint
        self.facts = dict(facts or {})
        """What the verb had found out by then: with --json it stands beside the error."""
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [self.what]
        if self.got is not None:
            parts.append(f"got {self.got}")
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if self.hint is not None:
            parts.append(self.hint)
        return "; ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments need help to cross a process border.
        return _rebuild, (type(self), self.what, self.got, self.expected, self.hint)


def _rebuild(kind, what, got, expected, hint):  # pragma: no cover - called by pickle
    return kind(what, got=got, expected=expected, hint=hint)


class GateFailed(YxanulError):
    """A stage ended and its gate said no; everything is saved."""

    exit_code = 3


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived; the state is saved. No `except Exception` takes it for a fault."""

    def __init__(self, what: str, *, signal_number: int, hint: str | None = None):
        super().__init__(f"{what}; {hint}" if hint else what)
        self.what, self.hint, self.signal_number = what, hint, signal_number
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_interrupted, (self.what, self.signal_number, self.hint)


def _rebuild_interrupted(what, signal_number, hint):  # pragma: no cover - called by pickle
    return Interrupted(what, signal_number=signal_number, hint=hint)


@contextlib.contextmanager
def errors_at(place: str) -> Iterator[None]:
    """Put the place in front of an error of the block: where something was asked for."""
    try:
        yield
    except YxanulError as error:
        error.what = f"{place}: {error.what}"
        raise


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from, outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def near_miss(word: str, options: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the hint "did you mean 'x'?" for the option nearest to `word`, or None.

    Capitals do not matter; options less alike than `cutoff` (0 to 1) are none.
    """
    by_lower = {option.lower(): option for option in options}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return f"did you mean '{by_lower[close[0]]}'?" if close else None


def missing_package(package: str, extra: str) -> YxanulError:
    """Return the error for an optional package that is not installed."""
    return YxanulError(
        f"the package '{package}' is not installed", hint=f"pip install 'yxanul[{extra}]'"
    )
