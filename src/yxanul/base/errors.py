"""User errors: the command line prints each as one line and maps it to an exit code."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any


class YxanulError(Exception):
    """Error the user can fix: what is wrong, what it got, what it expected, a hint."""

    exit_code = 2
    is_retryable = False
    """True for transient faults that a retry may resolve."""

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
        """Results available when the error occurred: with --json they are part of the output."""
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


class GateFailed(YxanulError):
    """A stage ended but failed its gate; all state is saved."""

    exit_code = 3


class StoppedByAlert(YxanulError):
    """An alert whose action is stop was raised; all state is saved."""

    exit_code = 3


class Interrupted(BaseException):
    """SIGINT or SIGTERM arrived; the state is saved.

    A BaseException, so that `except Exception` does not catch it.
    """

    def __init__(self, what: str, *, signal_number: int, hint: str | None = None):
        super().__init__(f"{what}; {hint}" if hint else what)
        self.what, self.hint, self.signal_number = what, hint, signal_number
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple[object, ...]:
        again = partial(Interrupted, signal_number=self.signal_number, hint=self.hint)
        return again, (self.what,)


@contextlib.contextmanager
def errors_at(place: str) -> Iterator[None]:
    """Prefix errors raised in the block with `place`, the position in the recipe or command."""
    try:
        yield
    except YxanulError as error:
        error.what = f"{place}: {error.what}"
        raise


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its chain of causes, outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def did_you_mean(word: str, options: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the hint "did you mean 'x'?" for the option most similar to `word`, or None.

    Case is ignored; options with a similarity below `cutoff` (0 to 1) do not count.
    """
    by_lower = {option.lower(): option for option in options}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return f"did you mean '{by_lower[close[0]]}'?" if close else None


def missing_package(package: str, extra: str) -> YxanulError:
    """Return the error for an optional package that is not installed."""
    return YxanulError(
        f"the package '{package}' is not installed", hint=f"pip install 'yxanul[{extra}]'"
    )
