"""Alerts: rules over metrics, each with an observation, a likely cause and advice."""

from yxanul.monitor.alerts.monitor import Alert, AlertMonitor
from yxanul.monitor.alerts.table import ALERTS, AlertRule

__all__ = ["ALERTS", "Alert", "AlertMonitor", "AlertRule"]
