"""Alert rules over time and memory."""

from __future__ import annotations

from yxanul.monitor.alerts.history import DATA_SHARES, MEMORY, History, Metrics
from yxanul.monitor.rolling import Rolling

DATA_SHARE, DATA_SECONDS = 0.1, 0.01
LEAK_MB, LEAK_FIT, BYTES_READ = 1.0, 0.9, 8
SLOW, SLOW_STEPS = 0.7, 50


def starvation(metrics: Metrics, history: History) -> str | None:
    """Look for more than a tenth of the last 100 updates' time, and 10 ms each, being spent on
    batches.

    The mean of the shares: one long wait, as for text that is still being encoded, counts once.
    """
    if "perf/data_time" not in metrics or len(history.data_shares) < DATA_SHARES:
        return None
    share = history.data_shares.mean
    if share <= DATA_SHARE or history.waits.mean <= DATA_SECONDS:
        return ""
    return f"{share:.0%} of the time is spent waiting for batches"


def memory_leak(metrics: Metrics, history: History) -> str | None:
    """Look for memory that grows steadily by more than 1 MB an update.

    Text that is read for the first time stays in the memory of the process: 8 bytes a token are
    allowed for it.
    """
    if "memory/allocated_gb" not in metrics or len(history.memory) < MEMORY or history.step % 10:
        return None
    allowed = LEAK_MB + BYTES_READ * metrics.get("data/actual_tokens", 0.0) / 2**20
    values = [1024 * value for value in history.memory]
    slopes = [_slope(half)[0] for half in (values[: MEMORY // 2], values[MEMORY // 2 :])]
    slope, fit = _slope(values)
    if min(*slopes, slope) <= allowed or fit <= LEAK_FIT:
        return ""
    return f"memory grows by {slope:.1f} MiB an update, now {values[-1]:,.0f} MiB"


def throughput_fall(metrics: Metrics, history: History) -> str | None:
    """Look for a median speed of 50 updates below 70 % of the usual one."""
    is_due = len(history.speeds) >= 4 * SLOW_STEPS and history.step % 10 == 0
    if "perf/tokens_per_second" not in metrics or not is_due:
        return None
    usual, now = history.speeds.median, Rolling(SLOW_STEPS, history.speeds).median
    return f"{now:,.0f} tokens/s, usually {usual:,.0f}" if now < SLOW * usual else ""


def _slope(values: list[float]) -> tuple[float, float]:
    """Return the slope of a line through equally spaced values, and its r squared."""
    mean, middle = sum(values) / len(values), (len(values) - 1) / 2
    sxx = sum((at - middle) ** 2 for at in range(len(values)))
    sxy = sum((at - middle) * (value - mean) for at, value in enumerate(values))
    syy = sum((value - mean) ** 2 for value in values)
    return sxy / sxx, sxy**2 / (sxx * syy) if syy else 0.0
