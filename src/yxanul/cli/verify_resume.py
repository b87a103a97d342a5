"""`yxanul verify-resume`: check on this machine that a resumed run equals an uninterrupted one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from yxanul.base.errors import YxanulError
from yxanul.base.files import folder_lock
from yxanul.base.interrupt import StopRequest
from yxanul.base.run_folder import RunFolder
from yxanul.cli.options import (
    DeviceOption,
    JsonOption,
    OutOption,
    Overrides,
    RecipeArgument,
    option,
    run_folder_of,
    with_device,
)
from yxanul.cli.output import make_ui, print_result
from yxanul.cli.run import load_for_run

if TYPE_CHECKING:
    from yxanul.base.settings import Misfit
    from yxanul.recipe import Recipe

NAME = "verify-resume"
EXAMPLES = """
yxanul verify-resume quickstart
yxanul verify-resume fineweb-ultra-24gb --steps 40 --stops 3 --devices 2
"""


def command(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: OutOption = None,
    steps: Annotated[int, option("N", "Steps of each of the two runs.", min=2)] = 20,
    stops: Annotated[int, option("N", "Interruptions of the second run.", min=1)] = 2,
    device: DeviceOption = None,
    devices: Annotated[int, option("N", "Training processes.", min=1)] = 1,
    as_json: JsonOption = False,
) -> None:
    """Train some steps uninterrupted, again with random interruptions, and compare every bit.

    Prepares the text and writes recipe.yaml in the run folder if needed; weights and ledger there
    are left unchanged.
    """
    from yxanul.plan import preflight
    from yxanul.recipe import load_with_preset
    from yxanul.stages.data import load_tokenizer, prepare, text_tokens
    from yxanul.stages.measure import best_preset, compare_presets
    from yxanul.stages.resume import reconcile_recipe
    from yxanul.stages.verify_resume import verify_resume

    run, ui = RunFolder(run_folder_of(recipe, out)), make_ui()

    def misfits(recipe: Recipe) -> list[Misfit]:
        return [*preflight.of_text(recipe), *preflight.of_training(recipe, devices)]

    given = with_device(overrides, device)
    resolved = load_for_run(recipe, given, run, misfits)
    with StopRequest().handled(), folder_lock(run.path):
        reconcile_recipe(run, resolved, ui)
        prepare(run, resolved, ui)
        if resolved.model.preset == "auto":  # the run chooses when it begins
            with_preset = partial(load_with_preset, recipe, given, run)
            text = load_tokenizer(run, resolved).vocab_size, text_tokens(run, resolved, ui)
            resolved = with_preset(best_preset(compare_presets(with_preset, *text, devices)))
        proof = verify_resume(run, resolved, ui, steps=steps, num_stops=stops, devices=devices)
    facts = {"run": str(run.path)} | proof.to_dict()
    if proof.differences:
        count = len(proof.differences)
        raise YxanulError(
            "the resumed run differs from the uninterrupted one in"
            f" {count} place{'s' * (count > 1)}",
            got=proof.differences[0],
            hint=f"both runs are in {run.path / 'verify-resume'}",
            facts=facts,
        )
    text = (
        f"bit-identical: {proof.tensors} tensors and {proof.values:,} values after"
        f" {proof.steps} steps, interrupted after {', '.join(map(str, proof.stops))}"
        f" ({run.path / 'verify-resume.json'})"
    )
    print_result(facts, text, as_json)
