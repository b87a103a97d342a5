"""`yxanul run`: a recipe from start to end."""

from __future__ import annotations

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

NAME = "run"
EXAMPLES = """**Examples**

`yxanul run quickstart`

`yxanul run own-text data.sources.mine.path=~/books 'stages.0.budget={minutes: 9}' --out books`

An interrupted or failed run goes on when the same command is given again."""


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
    """Run a recipe: tokenizer, shards, every stage and its gate, then a sample and the scores."""
    from yxanul.cli.launch import Order, launched
    from yxanul.cli.train import show_outcome

    order = Order(
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
    outcome = None
    with launched(order) as session:
        if session is not None:
            from yxanul.stages.runner import run_stages
            from yxanul.stages.summary import summarize

            run_stages(session)
            outcome = summarize(session)
    if outcome is not None:
        show_outcome(outcome, as_json)
