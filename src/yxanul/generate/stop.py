"""Detection of stop strings in streamed text."""

from __future__ import annotations

from collections.abc import Sequence


class StopFinder:
    """Passes text through up to the first stop string, however the text is chunked.

    Text that may be the start of a stop string is held back until that is decided.
    """

    def __init__(self, stops: Sequence[str]):
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """Add a chunk; return the text known to precede any stop string."""
        if self.found:
            return ""
        self._held += text
        cut = self._first_stop()
        if cut is not None:
            self.found, end = True, cut
        else:
            end = len(self._held) - self._doubtful()
        certain, self._held = self._held[:end], self._held[end:]
        return certain

    def flush(self) -> str:
        """Return the text held back, at the end of the stream."""
        rest, self._held = "" if self.found else self._held, ""
        return rest

    def _first_stop(self) -> int | None:
        """Return the start of the stop string that is completed first, or None."""
        hits = [(self._held.find(stop), stop) for stop in self._stops]
        ends = [(start + len(stop), start) for start, stop in hits if start >= 0]
        return min(ends)[1] if ends else None

    def _doubtful(self) -> int:
        """Return the length of the longest suffix that is a proper prefix of a stop string."""
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0
