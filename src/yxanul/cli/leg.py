"""A piece of a run as a program of its own: `python -m yxanul.cli.leg RUN STEP`.

It trains the run that lies in RUN, from where it stands to STEP, saves and ends: what
`verify-resume` puts runs together from.
"""

from __future__ import annotations

import sys
from pathlib import Path

from yxanul.base.errors import Interrupted
from yxanul.base.run_folder import RunFolder
from yxanul.base.startup import Startup
from yxanul.base.ui import SilentUi
from yxanul.cli.errors import guarded
from yxanul.cli.signals import end_by_signals


def train_to(run: RunFolder, step: int) -> None:
    """Train a prepared run up to a step (or its end)."""
    from yxanul.checkpoint.layout import checkpoint_steps
    from yxanul.recipe import load_recipe
    from yxanul.stages.resume import open_run

    recipe = load_recipe(str(run.recipe))
    try:
        with open_run(recipe, run, SilentUi(), Startup(), stop_after=step) as session:
            from yxanul.stages.runner import run_stages

            run_stages(session)
    except Interrupted:
        if max(checkpoint_steps(run.checkpoints), default=0) < step:
            raise


if __name__ == "__main__":
    end_by_signals()
    with guarded():
        train_to(RunFolder(Path(sys.argv[1])), int(sys.argv[2]))
