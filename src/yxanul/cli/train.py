"""`yxanul train`: shards to checkpoints."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from yxanul.cli.options import JsonOption, OutOption, Overrides, RecipeArgument, run_folder_of

if TYPE_CHECKING:
    from yxanul.stages.outcome import Outcome

NAME = "train"
EXAMPLES = """**Examples**

`yxanul prepare quickstart && yxanul train quickstart`

`yxanul train quickstart optim.peak_rate=2e-3`"""


def command(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train every stage of a recipe whose shards are prepared; resumes where it stopped."""
    carry_out(recipe, overrides or [], run_folder_of(recipe, out), as_json, with_prepare=False)


def carry_out(
    recipe: str, overrides: list[str], out: Path, as_json: bool, *, with_prepare: bool
) -> None:
    """Do the work of `run` and of `train`, and show what came out."""
    from yxanul.base.errors import GateFailed
    from yxanul.base.files import folder_lock
    from yxanul.base.interrupt import StopRequest
    from yxanul.base.run_folder import RunFolder
    from yxanul.cli.output import make_ui, print_json, print_text
    from yxanul.recipe import load_recipe

    resolved = load_recipe(recipe, overrides)
    run, ui = RunFolder(out), make_ui()
    with StopRequest().handled() as stop, folder_lock(run.path):
        from yxanul.stages.outcome import conclude, stage_facts
        from yxanul.stages.preparation import begin
        from yxanul.stages.program import run_program
        from yxanul.stages.resume import settle_recipe
        from yxanul.stages.session import open_session

        settle_recipe(run, resolved, ui)
        with begin(run, resolved, ui, stop) if with_prepare else nullcontext() as preparation:
            session = open_session(run, resolved, ui, stop, preparation)
            try:
                run_program(session)
            except GateFailed:
                if as_json:
                    print_json(stage_facts(session))
                raise
            session.wait_for_all_text()
        outcome = conclude(session)
    if as_json:
        print_json(outcome.to_dict())
    else:
        print_text(summary(outcome))


def summary(outcome: Outcome) -> str:
    """Return what a finished run shows: a sample, the held-out scores, where it lies."""
    lines = [""]
    for sample in outcome.samples:
        lines += [sample, ""]
    for entry in outcome.stages:
        lines.append(f"stage '{entry.name}': {entry.status}, {entry.tokens:,} tokens")
    lines.append("held-out bits per byte:")
    for domain, score in outcome.scores.items():
        needed = outcome.xz[domain]
        xz = f"  (xz -9e of the same text: {needed:.3f})" if needed else ""
        note = "  synthetic" if domain in outcome.synthetic else ""
        lines.append(f"  {domain:<16}{score.bits_per_byte:.3f}{xz}{note}")
    lines.append(f"the run lies in {outcome.run}; go on with:")
    lines.append(f'  yxanul generate {shlex.quote(str(outcome.run))} "{outcome.prompt}"')
    return "\n".join(lines)
