"""What a run records about itself: metrics, trackers, alerts, and the peak that MFU divides by."""

from yxanul.monitor.config import MonitorSettings

__all__ = ["MonitorSettings"]
