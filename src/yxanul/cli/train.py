"""`yxanul train`: train a recipe on prepared shards."""

from __future__ import annotations

import os
from typing import Annotated

from yxanul.base.errors import Interrupted, YxanulError
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
    flag,
    option,
    run_folder_of,
    with_device,
)
from yxanul.cli.output import print_json
from yxanul.cli.run import RunRequest, run_recipe

NAME = "train"
EXAMPLES = """
yxanul prepare quickstart && yxanul train quickstart
yxanul train quickstart optim.peak_lr=2e-3
yxanul train fineweb-ultra --devices 8 --strategy fsdp
"""


def command(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: OutOption = None,
    device: DeviceOption = None,
    devices: DevicesOption = None,
    strategy: StrategyOption = None,
    restarts: RestartsOption = 0,
    resume: ResumeOption = False,
    eval_only: Annotated[
        bool,
        flag("--eval-only", "Skip training: score held-out text with the last checkpoint."),
    ] = False,
    disable_fp8: DisableFp8Option = False,
    cooldown_now: CooldownOption = False,
    stop_after: Annotated[
        int | None,
        option(
            "N",
            "Save and stop after step N of the run; the same command resumes from there.",
            min=1,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train every stage of a recipe whose shards are prepared; resume where it stopped."""
    training_options = (overrides, devices, strategy, restarts, resume, disable_fp8, cooldown_now)
    if eval_only and any((*training_options, stop_after)):
        raise YxanulError(
            "--eval-only can only be combined with --out, --device and --json",
            hint="it scores the run with the settings in its recipe.yaml",
        )
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
        stop_after=stop_after,
        as_json=as_json,
    )
    if eval_only:
        from yxanul.cli.evaluate_text import TextRequest, score_text

        score_text(TextRequest(request.out, checkpoint="last", device=device), as_json)
        return
    if stop_after is not None and request.last_step() >= stop_after:
        show_stop(request, f"{request.out} is already at step {request.last_step()}")
        return
    try:
        run_recipe(request)
    except Interrupted as stop:
        if stop_after is None or request.last_step() < stop_after:
            raise
        show_stop(request, stop.what)


def show_stop(request: RunRequest, text: str) -> None:
    """Report the run's last step."""
    request.ui().say(text)
    if request.as_json and os.environ.get("RANK", "0") == "0":
        print_json({"run": str(request.out), "step": request.last_step()})
