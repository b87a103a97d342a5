"""Optimizers, learning-rate schedules and grouping by role.

`config` holds the settings, `table` all optimizers, `schedules` all schedules; this file stays free
of torch so that recipes load fast.
"""

from yxanul.optim.config import OptimSettings, ScheduleSettings

__all__ = ["OptimSettings", "ScheduleSettings"]
