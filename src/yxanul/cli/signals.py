"""What SIGINT and SIGTERM do before there is anything to save."""

import contextlib
import os
import signal
import sys
from types import FrameType

json_is_out = False
"""Whether the one object of --json is written, or about to be."""
_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_STOPPED = (
    b'{"error": {"message": "stopped", "got": null, "expected": null, "hint": null,'
    b' "where": null}, "exit_code": %d}\n'
)


def _speaks() -> bool:
    """Say whether this process has stdout for itself: no other one answers for it."""
    return "YXANUL_REPORT" not in os.environ and os.environ.get("RANK", "0") == "0"


def end_by_signals() -> None:
    """Let SIGINT and SIGTERM end this process at once, in silence and with their exit codes.

    `StopRequest` takes over where something is to be saved. Here it is no exception, which code
    that is being imported may swallow, or show as another.
    """

    def end(number: int, frame: FrameType | None) -> None:
        if "--json" in sys.argv and _speaks():
            if json_is_out:
                return  # a second object would be one too many, and the end is near
            with contextlib.suppress(OSError):
                os.write(1, _STOPPED % (128 + number))
        os._exit(128 + number)

    for number in _NUMBERS:
        signal.signal(number, end)
    import atexit

    atexit.register(_ignore_signals)


def _ignore_signals() -> None:
    """All is done: Python, which takes its handlers away as it ends, would still die of one."""
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)
