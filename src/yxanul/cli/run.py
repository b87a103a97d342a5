"""`yxanul run`: prepare, train and evaluate a recipe."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yxanul.base.clock import Startup
from yxanul.base.errors import GateFailed, Interrupted, YxanulError
from yxanul.base.files import is_locked
from yxanul.base.machine import free_cores, usable_cores
from yxanul.base.run_folder import RunFolder
from yxanul.base.ui import SilentUi, Ui
from yxanul.cli.options import (
    CooldownOption,
    DeviceOption,
    DevicesOption,
    DisableFp8Option,
    JsonOption,
    OutOption,
    Overrides,
    RecipeArgument,
    RestartsOption,
    ResumeOption,
    StrategyOption,
    run_folder_of,
    with_device,
)
from yxanul.cli.output import make_ui, print_result, print_text

if TYPE_CHECKING:
    from yxanul.base.settings import Misfit
    from yxanul.recipe import Recipe
    from yxanul.train.parallel.worker_group import ExitReport

NAME = "run"
EXAMPLES = """
yxanul run quickstart
yxanul run own-text data.sources.mine.path=~/books 'stages.0.budget={minutes: 9}' --out books
"""

SAMPLE_LINES, SAMPLE_CHARS = 24, 2_000
_GPU_FILES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvmap")
_MAX_CPU_PROCESSES = 8
PROGRAM = "yxanul"


def command(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: OutOption = None,
    device: DeviceOption = None,
    devices: DevicesOption = None,
    strategy: StrategyOption = None,
    restarts: RestartsOption = 0,
    resume: ResumeOption = False,
    disable_fp8: DisableFp8Option = False,
    cooldown_now: CooldownOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run a recipe: tokenizer, shards, every stage and its gate, then samples and scores.

    Repeat the command to resume an interrupted or failed run.
    """
    request = RunRequest(
        NAME,
        recipe,
        with_device(overrides, device),
        run_folder_of(recipe, out),
        devices=devices,
        strategy=strategy,
        restarts=restarts,
        resume=resume,
        disable_fp8=disable_fp8,
        cooldown_now=cooldown_now,
        as_json=as_json,
    )
    run_recipe(request)


def run_recipe(request: RunRequest) -> None:
    """Execute `run` or `train`, here or in several processes, and show the outcome."""
    startup, recipe = Startup(), request.load()
    if request.cooldown_now and request.ask_for_cooldown(recipe):
        return
    if request.resume and not request.last_step():
        request.ui().say(f"{request.out} has no checkpoint yet; training starts at its first step")
    startup.lap("recipe")
    if (size := num_devices(request, recipe)) > 1:
        start_children(request, size)
        return

    from yxanul.stages.resume import open_run

    with open_run(
        recipe,
        request.run,
        request.ui(),
        startup,
        with_preset=request.with_preset,
        with_prepare=request.verb == "run",
        stop_after=request.stop_after,
    ) as session:
        from yxanul.stages.runner import run_stages
        from yxanul.stages.summary import summarize

        try:
            run_stages(session)
        except GateFailed as failure:
            if facts := summarize(session):
                failure.facts = facts | failure.facts
                if not request.as_json:
                    print_text(summary(facts))
            raise
        facts = summarize(session)
    if facts is not None:
        print_result(facts, summary(facts), request.as_json)


def summary(facts: dict[str, Any]) -> str:
    """Return a finished run's summary: samples, held-out scores, its folder, the next commands."""
    from yxanul.stages.summary import SAMPLING

    lines = [""]
    for sample in facts["samples"]:
        lines += [readable(sample), ""]
    for stage in facts["stages"]:
        lines.append(f"stage '{stage['name']}': {stage['status']}, {stage['tokens']:,} tokens")
    lines.append("held-out bits per byte:")
    for domain, score in facts["held_out"].items():
        needed, after = score["xz_bits_per_byte"], score["xz_after_training_bits_per_byte"]
        xz = f"xz -9e of the same text: {needed:.3f}" if needed else ""
        xz += f"; after the training text: {after:.3f}" if after else ""
        xz = f"  ({xz})" if xz else ""
        note = "  synthetic" if score["synthetic"] else ""
        lines.append(f"  {domain:<16}{score['bits_per_byte']:.3f}{xz}{note}")
    run, program = facts["run"], own_command()
    more = ["generate", run, facts["prompt"], "--temperature", f"{SAMPLING.temperature:g}"]
    lines.append(f"the run is in {run}, its report in {run}/report.html; what to type next:")
    lines += [
        f"  {shlex.join([*program, *more, '--samples', '4'])}",
        f"  {shlex.join([*program, 'show', run])}",
    ]
    return "\n".join(lines)


def own_command() -> list[str]:
    """Return the words that start this program again from the same shell."""
    if shutil.which(PROGRAM):
        return [PROGRAM]
    script = Path(sys.executable).with_name(PROGRAM)
    if script.exists():
        return [min(str(script), os.path.relpath(script), key=len)]
    return [sys.executable, "-m", PROGRAM]


def readable(sample: str) -> str:
    """Return a sample with runs of empty lines collapsed, cut to a readable length."""
    from yxanul.cli.pictures import escape

    text = escape(re.sub(r"\s*\n\s*\n\s*", "\n\n", sample.strip()), keep="\n")
    shown = "\n".join(text.splitlines()[:SAMPLE_LINES])[:SAMPLE_CHARS]
    return shown if shown == text else f"{shown.rstrip()} ..."


@dataclass(frozen=True)
class RunRequest:
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
        return make_ui() if os.environ.get("RANK", "0") == "0" else SilentUi()

    @cached_property
    def cores_are_taken(self) -> bool:
        """Whether other processes leave less than half of the cores now; if so, this warns."""
        cores = usable_cores()
        is_taken = cores > 1 and 2 * free_cores() < cores
        if is_taken:
            self.ui().warn(
                "other processes are using the CPU: training in several processes, which wait for"
                " each other less often than threads do"
            )
        return is_taken

    def arguments(self) -> list[str]:
        """Return the command-line arguments for the child processes."""
        flags = ["--resume"] * self.resume + ["--disable-fp8"] * self.disable_fp8
        flags += ["--strategy", self.strategy] if self.strategy else []
        flags += ["--stop-after", str(self.stop_after)] if self.stop_after else []
        flags += ["--json"] * self.as_json
        return [self.verb, self.recipe, *self.overrides, "--out", str(self.out), *flags]

    def ask_for_cooldown(self, recipe: Recipe) -> bool:
        """Request an early cooldown; True if a running process will carry it out."""
        from yxanul.stages.replan import request_cooldown

        request_cooldown(self.run, recipe)
        if not is_locked(self.out):
            return False
        text = f"asked the process that trains {self.out} to cool down and end"
        print_result({"run": str(self.out), "asked": True}, text, self.as_json)
        return True


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


def num_devices(request: RunRequest, recipe: Recipe) -> int:
    """Return the number of processes to start; 1 inside a worker."""
    if "WORLD_SIZE" in os.environ:
        return 1
    if request.devices is not None:
        return request.devices
    if recipe.train.device == "cpu" or not any(map(os.path.exists, _GPU_FILES)):
        return _num_cpu_processes(request, recipe)  # known without importing torch
    import torch

    return max(1, torch.cuda.device_count())


def _num_cpu_processes(request: RunRequest, recipe: Recipe) -> int:
    """Return the number of processes on a CPU: the one in the ledger, since sums depend on it; for
    a new run 1, or if its minutes have to be shared with other processes, one per core.

    Processes wait for each other once a step, threads at the end of every operation. On two cores
    that were both taken, two processes trained 2.3 times as fast as one with one thread, and on
    idle ones as fast as one with two.
    """
    from yxanul.plan import preflight
    from yxanul.stages.ledger import Ledger

    if request.run.ledger.exists():
        return Ledger.open(request.run.ledger).decisions.get("processes", 1)
    most = min(usable_cores(), _MAX_CPU_PROCESSES)
    if (
        any(stage.budget.minutes for stage in recipe.stages)
        and recipe.train.strategy in ("auto", "ddp")
        and "OMP_NUM_THREADS" not in os.environ
        and not any(preflight.of_memory(recipe, most))
        and request.cores_are_taken
    ):
        return most
    return 1


def start_children(request: RunRequest, size: int) -> None:
    """Run the request in several processes; raise the error of one that failed."""
    from yxanul.train.parallel.worker_group import WorkerGroup, command_of

    ui, cores = request.ui(), usable_cores()
    if size > cores:
        ui.warn(f"{size} processes share {cores} cores: fewer would train faster")
    for attempt in range(request.restarts + 1):
        report = WorkerGroup(command_of(request.arguments()), size).run()
        if report is None:
            return
        if attempt == request.restarts or not report.is_retryable:
            raise _error_of(report)
        ui.warn(
            f"{report.text}; restarting from the last checkpoint"
            f" ({attempt + 1} of {request.restarts})"
        )


def _error_of(report: ExitReport) -> YxanulError | Interrupted:
    if report.exit_code >= 128:
        return Interrupted(report.text, signal_number=report.exit_code - 128)
    hint = "the same command resumes from the last checkpoint" if report.is_retryable else None
    facts = None if report.is_retryable else report.facts
    error = YxanulError(report.text, hint=hint, facts=facts)
    error.exit_code = report.exit_code
    return error
