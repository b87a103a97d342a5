"""Optimizers, learning-rate schedules and parameter groups by role.

This file does not import torch, so that recipes load fast.
"""

from yxanul.optim.config import OptimSettings, ScheduleSettings

__all__ = ["OptimSettings", "ScheduleSettings"]
