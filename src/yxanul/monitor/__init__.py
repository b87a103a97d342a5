"""Monitoring: metrics, trackers, alerts and the device peak for MFU."""

from yxanul.monitor.config import MonitorSettings

__all__ = ["MonitorSettings"]
