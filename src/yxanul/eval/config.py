"""Settings for evaluation."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pydantic import Field, field_validator, model_validator

from yxanul.base.errors import YxanulError
from yxanul.base.metric_names import matching, task_of
from yxanul.base.registry import lookup
from yxanul.base.settings import Misfit, Settings
from yxanul.eval.run_tasks import ALL_TASKS


class TaskSettings(Settings):
    """A task that is evaluated during training and at every gate."""

    name: str
    """Name of the task, such as blimp."""
    every_steps: int | None = Field(default=None, gt=0)
    """Steps between evaluations; absent: only at gates."""
    limit: int | None = Field(default=None, gt=1)
    """Most documents, drawn with a fixed seed; absent: all."""
    num_fewshot: int = Field(default=0, ge=0)
    """Solved documents before each question, for tasks that do not fix their number."""

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            lookup(ALL_TASKS, name, "task")
        except YxanulError as error:
            raise ValueError(str(error)) from None
        return name

    @property
    def metrics(self) -> list[str]:
        """Names of the task's metrics."""
        return [f"task/{self.name}/{metric}" for metric in ALL_TASKS[self.name].metrics]

    @property
    def runs_programs(self) -> bool:
        """Whether the task runs what the model writes."""
        return ALL_TASKS[self.name].program is not None

    @property
    def chance(self) -> tuple[float, float, int]:
        """Accuracy of guessing, its standard error, and the number of documents."""
        task = ALL_TASKS[self.name]
        documents = min(self.limit or task.documents, task.documents)
        return task.chance, math.sqrt(task.chance * (1 - task.chance) / documents), documents


class EvalSettings(Settings):
    """Evaluation on held-out splits, during training and at a gate."""

    every_steps: int = Field(default=200, gt=0)
    """Steps between evaluations."""
    max_tokens: int | None = Field(default=16_384, gt=0)
    """Held-out tokens scored per domain during training; a gate scores all of them."""
    seq_len: int | None = Field(default=None, gt=0)
    """Context length; absent: the longest the model was trained with."""
    stride: int | None = Field(default=None, gt=0)
    """Tokens scored per full window, the rest being context; absent: half of seq_len."""
    task_data: str | None = None
    """Folder with the files of tasks; absent: from the hub."""
    tasks: tuple[TaskSettings, ...] = ()
    """Tasks to evaluate during training and at gates."""
    max_share: float = Field(default=0.05, gt=0, le=1)
    """Most of the time that evaluating tasks during training may take: they are evaluated less
    often if they would take more. Gates are not counted."""
    allow_code: bool = False
    """Whether tasks may run the programs that the model writes, isolated."""
    sample_prompts: tuple[str, ...] = ()
    """Prompts continued at each evaluation; samples are written to samples/."""
    sample_tokens: int = Field(default=120, gt=0)
    """Tokens per sample."""

    @field_validator("tasks")
    @classmethod
    def _once_each(cls, tasks: tuple[TaskSettings, ...]) -> tuple[TaskSettings, ...]:
        names = [task.name for task in tasks]
        if len(set(names)) < len(names):
            raise ValueError(f"list each task only once, got {', '.join(names)}")
        return tasks

    @model_validator(mode="after")
    def _check(self) -> EvalSettings:
        for number, task in enumerate(self.tasks):
            if task.runs_programs and not self.allow_code:
                raise Misfit(_needs_permission(task.name), ("tasks", number, "name"))
        return self

    def tasks_with(self, metrics: Iterable[str]) -> list[TaskSettings]:
        """Return the tasks to evaluate where these metrics are needed, which may contain a *: those
        of `tasks`, and any other that is named, with all its documents."""
        known = {task.name for task in self.tasks}
        named = dict.fromkeys(filter(None, map(task_of, metrics)))
        others = (name for name in named if name in ALL_TASKS and name not in known)
        return [*self.tasks, *(TaskSettings(name=name) for name in others)]

    def gate_tasks(self, metrics: Iterable[str]) -> list[TaskSettings]:
        """Return those of `tasks_with` that may run: the tasks of a gate with these metrics."""
        tasks = self.tasks_with(metrics)
        return [task for task in tasks if self.allow_code or not task.runs_programs]

    def problem_with(
        self, metric: str, at_least: float | None = None, *, is_target: bool = False
    ) -> str | None:
        """Return why a metric of a task cannot be bounded like this; None if it can.

        A target may be out of reach, or need programs that are not allowed.
        """
        task, at_least = str(task_of(metric)), None if is_target else at_least
        if "*" not in task:
            try:
                lookup(ALL_TASKS, task, "task")
            except YxanulError as error:
                return str(error)
        tasks = [one for one in self.tasks_with([metric]) if matching(metric, one.metrics)]
        if not tasks:
            own = [TaskSettings(name=task)] if task in ALL_TASKS else self.tasks
            names = [name for one in own for name in one.metrics]
            return f"{metric} is not measured; expected one of {', '.join(names) or 'eval.tasks'}"
        for one in tasks:
            if one.runs_programs and not self.allow_code and not is_target:
                return _needs_permission(one.name)
            chance, stderr, documents = one.chance
            needed = chance + 3 * stderr
            if "accuracy" in metric and at_least is not None and at_least <= needed:
                return (
                    f"at_least is {at_least:g}, within three standard errors of chance: guessing"
                    f" has {chance:g} +- {stderr:.2g} on {documents:,} documents of {one.name};"
                    f" expected more than {needed:.3f}"
                )
        return None


def _needs_permission(task: str) -> str:
    return f"{task} runs programs that the model writes; set eval.allow_code to true"
