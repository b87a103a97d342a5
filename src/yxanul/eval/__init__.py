"""Evaluation: loss on held-out text by domain, zero- and few-shot tasks."""

from yxanul.eval.run_tasks import Result, TaskOptions, evaluate

__all__ = ["Result", "TaskOptions", "evaluate"]
