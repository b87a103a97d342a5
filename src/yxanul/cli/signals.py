"""Handling of SIGINT and SIGTERM before there is anything to save."""

import contextlib
import os
import signal
import sys
from types import FrameType

json_is_out = False
"""Whether the JSON object of --json is written, or about to be."""
exit_code = 0
"""Exit code of a command that has failed."""
_NUMBERS = (signal.SIGINT, signal.SIGTERM)
_STOPPED = (
    b'{"error": {"message": "stopped", "got": null, "expected": null, "hint": null,'
    b' "where": null}, "exit_code": %d}\n'
)


def end_by_signals() -> None:
    """Make SIGINT and SIGTERM end this process at once, silently, with exit code 128 + signal.

    `StopRequest` takes over once there is something to save. The handler raises no exception:
    code that is being imported may swallow it or replace it by another.
    """

    def end(number: int, frame: FrameType | None) -> None:
        # Unless a launcher or another rank answers for this process.
        answers = "YXANUL_REPORT" not in os.environ and os.environ.get("RANK", "0") == "0"
        if "--json" in sys.argv and answers:
            if json_is_out:
                return  # the process is about to exit
            with contextlib.suppress(OSError):
                os.write(1, _STOPPED % (128 + number))
        os._exit(128 + number)

    for number in _NUMBERS:
        signal.signal(number, end)
    import atexit

    atexit.register(_end)  # the first to be registered is the last to be called


def _end() -> None:
    """Ignore signals at exit: Python removes its handlers then, and would still die of one.

    A process that failed ends here. Python would go on to unwind the threads that are left, which
    aborts the process if one of them comes back from a library in Rust or C++.
    """
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_IGN)
    if exit_code:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(exit_code)
