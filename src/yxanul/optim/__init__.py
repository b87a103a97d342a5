"""Optimizers, learning-rate schedules and grouping by role.

`config` holds the settings, `schedules` the table SCHEDULES, `build` the table OPTIMIZERS; this
file stays free of torch so that recipes load fast.
"""

from yxanul.optim.config import OptimSettings, ScheduleSettings

__all__ = ["OptimSettings", "ScheduleSettings"]
