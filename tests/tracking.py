"""Runs that are logged to trackers."""

from yxanul.monitor.trackers import open_trackers


def log_steps(tracker, first, last):
    for step in range(first, last + 1):
        tracker.log(step, {"train/loss": step + 0.5})


def log_and_resume(trackers, run, resumed_from):
    """Log nine steps and a text, and after a resume from an earlier step up to the twelfth."""
    first = open_trackers(trackers, run)
    log_steps(first, 1, 9)
    first.text(9, "samples", "a text")
    first.close()
    second = open_trackers(trackers, run)
    second.rewind(resumed_from)
    log_steps(second, resumed_from + 1, 12)
    second.close()


LOSSES = [(step, step + 0.5) for step in range(1, 13)]
"""Steps and losses that `log_and_resume` leaves in a tracker."""
