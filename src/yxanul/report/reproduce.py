"""Commands that repeat a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from yxanul.base.run_folder import RunFolder


def reproduction(
    run: RunFolder,
    recipe: Mapping[str, Any],
    ledger: Mapping[str, Any],
    environment: Mapping[str, Any],
) -> list[str]:
    """Return three lines for a shell that train the same model again.

    What was measured on the machine, such as the tokens that minutes came to, is fixed by
    overrides.
    """
    versions = [
        f"{package}=={environment[package]}"
        for package in ("yxanul", "torch")
        if environment.get(package)
    ]
    again = f"{run.name}-again"
    overrides = []
    if precision := ledger.get("decisions", {}).get("precision"):
        overrides.append(f"train.precision={precision}")
    measured = {stage.get("name"): stage for stage in ledger.get("stages", [])}
    for index, stage in enumerate(recipe.get("stages", [])):
        entry = measured.get(stage.get("name"))
        if entry and (stage.get("budget") or {}).get("minutes") is not None:
            overrides.append(f"stages.{index}.budget={{tokens: {entry.get('tokens')}}}")
    command = ["yxanul", "run", f"{again}.yaml", *overrides, "--out", f"runs/{again}"]
    return [
        shlex.join(["pip", "install", *(versions or ["yxanul"])]).replace("+cpu", ""),
        f"# {again}.yaml: the recipe below, which is the run's recipe.yaml",
        shlex.join(command),
    ]
