"""The arguments of `run` and `train`, and the processes that execute them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from yxanul.base.errors import Interrupted, YxanulError

if TYPE_CHECKING:
    from yxanul.base.run_folder import RunFolder
    from yxanul.base.settings import Misfit
    from yxanul.base.ui import Ui
    from yxanul.recipe import Recipe
    from yxanul.stages.session import Session
    from yxanul.train.parallel.worker_group import ExitReport


@dataclass(frozen=True)
class Order:
    """The arguments of `run` and `train`."""

    verb: str
    recipe: str
    overrides: tuple[str, ...]
    out: Path
    devices: int | None = None
    strategy: str | None = None
    restarts: int = 0
    resume: bool = False
    disable_fp8: bool = False
    cooldown_now: bool = False
    stop_after: int | None = None
    as_json: bool = False

    @property
    def run(self) -> RunFolder:
        """The run folder."""
        from yxanul.base.run_folder import RunFolder

        return RunFolder(self.out)

    def last_step(self) -> int:
        """Return the step of the newest checkpoint; 0 if there is none."""
        from yxanul.checkpoint.layout import checkpoint_steps

        return max(checkpoint_steps(self.run.checkpoints), default=0)

    def load(self) -> Recipe:
        """Return the resolved recipe with flags applied; raise if this machine cannot run it."""
        from yxanul.train.parallel.deepspeed_config import read_config

        recipe = load_for_run(self.recipe, self._with_flags, self.run, self._misfits)
        if recipe.train.deepspeed is not None:
            read_config(recipe.train.deepspeed)  # so that a bad file fails before any work
        return recipe

    def with_preset(self, preset: str) -> Recipe:
        """Return the resolved recipe with another model preset."""
        from yxanul.recipe import load_with_preset

        return load_with_preset(self.recipe, self._with_flags, self.run, preset)

    @cached_property
    def _with_flags(self) -> list[str]:
        """The overrides, including those that flags imply."""
        from yxanul.recipe import load_recipe

        overrides = list(self.overrides)
        if self.disable_fp8:
            is_fp8 = load_recipe(self.recipe, overrides, self.run).train.precision == "fp8"
            overrides += ["train.precision=bf16"] * is_fp8 + ["train.fp8.engine=none"]
        if self.strategy:
            overrides.append(f"train.strategy={self.strategy}")
        return overrides

    def _misfits(self, recipe: Recipe) -> Iterator[Misfit]:
        from yxanul.plan import preflight

        processes = int(os.environ.get("WORLD_SIZE", num_devices(self, recipe)))
        yield from preflight.of_training(recipe, processes)
        if self.verb == "run":
            yield from preflight.of_text(recipe)

    def ui(self) -> Ui:
        """Return the user interface; silent on every rank but 0."""
        from yxanul.base.ui import SilentUi
        from yxanul.cli.output import make_ui

        return make_ui() if os.environ.get("RANK", "0") == "0" else SilentUi()

    def arguments(self) -> list[str]:
        """Return the command-line arguments for the child processes."""
        flags = ["--resume"] * self.resume + ["--disable-fp8"] * self.disable_fp8
        flags += ["--strategy", self.strategy] if self.strategy else []
        flags += ["--stop-after", str(self.stop_after)] if self.stop_after else []
        flags += ["--json"] * self.as_json
        return [self.verb, self.recipe, *self.overrides, "--out", str(self.out), *flags]

    def ask_for_cooldown(self, recipe: Recipe) -> bool:
        """Request an early cool-down; True if a running process will carry it out."""
        from yxanul.base.files import is_locked
        from yxanul.cli.output import print_result
        from yxanul.stages.replan import ask

        ask(self.run, recipe)
        if not is_locked(self.out):
            return False
        text = f"asked the process that trains {self.out} to cool down and end"
        print_result({"run": str(self.out), "asked": True}, text, self.as_json)
        return True


@contextlib.contextmanager
def launched(order: Order) -> Iterator[Session | None]:
    """Context manager: the session of an order; None if other processes did it, or will."""
    from yxanul.base.startup import Startup

    startup, recipe = Startup(), order.load()
    if order.cooldown_now and order.ask_for_cooldown(recipe):
        yield None
        return
    if order.resume and not order.last_step():
        order.ui().say(f"{order.out} has no checkpoint yet; training starts at its first step")
    startup.lap("recipe")
    if (size := num_devices(order, recipe)) > 1:
        start_children(order, size)
        yield None
        return

    from yxanul.stages.resume import open_run

    with open_run(
        recipe,
        order.run,
        order.ui(),
        startup,
        with_preset=order.with_preset,
        with_prepare=order.verb == "run",
        stop_after=order.stop_after,
    ) as session:
        yield session


def load_for_run(
    name: str,
    overrides: Sequence[str],
    run: RunFolder,
    misfits: Callable[[Recipe], Iterable[Misfit]],
) -> Recipe:
    """Read the recipe of a run and refuse its `misfits`.

    A preset of auto becomes the one the run was started with; a new run keeps auto.
    """
    from yxanul.recipe import check_tree, load_recipe, load_with_preset, read_tree, refuse

    tree = read_tree(name, overrides, run)
    recipe = check_tree(tree)
    refuse(tree, [*misfits(recipe)])
    if recipe.model.preset == "auto" and run.recipe.exists():
        begun = load_recipe(str(run.recipe)).model.preset
        return load_with_preset(name, overrides, run, begun) if begun else recipe
    return recipe


def num_devices(order: Order, recipe: Recipe) -> int:
    """Return the number of processes to start; 1 inside a worker."""
    if "WORLD_SIZE" in os.environ:
        return 1
    if order.devices is not None:
        return order.devices
    if recipe.train.device == "cpu" or not Path("/dev/nvidiactl").exists():
        return 1  # known without importing torch
    import torch

    return max(1, torch.cuda.device_count())


def start_children(order: Order, size: int) -> None:
    """Run the order in several processes; raise the error of one that failed."""
    from yxanul.train.parallel.worker_group import WorkerGroup, command_of

    ui, cores = order.ui(), os.cpu_count() or 1
    if size > cores:
        ui.warn(f"{size} processes share {cores} cores: fewer would train faster")
    for attempt in range(order.restarts + 1):
        ending = WorkerGroup(command_of(order.arguments()), size).run()
        if ending is None:
            return
        if attempt == order.restarts or not ending.is_accident:
            raise _error_of(ending)
        ui.warn(
            f"{ending.text}; restarting from the last checkpoint"
            f" ({attempt + 1} of {order.restarts})"
        )


def _error_of(ending: ExitReport) -> YxanulError | Interrupted:
    if ending.exit_code >= 128:
        return Interrupted(ending.text, signal_number=ending.exit_code - 128)
    hint = "the same command resumes from the last checkpoint" if ending.is_accident else None
    facts = None if ending.is_accident else ending.facts
    error = YxanulError(ending.text, hint=hint, facts=facts)
    error.exit_code = ending.exit_code
    return error
