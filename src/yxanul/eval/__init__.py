"""Evaluation: loss on held-out text by domain, zero- and few-shot tasks."""

from yxanul.eval.run_tasks import TaskOptions, TaskResult, evaluate

__all__ = ["TaskOptions", "TaskResult", "evaluate"]
