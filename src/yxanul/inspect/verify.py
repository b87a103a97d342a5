"""Verification of the shards of a target, and their comparison with its recipe."""

from __future__ import annotations

from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.base.ui import Ui
from yxanul.data.manifest import read_outline
from yxanul.data.verify import Check, Fault, verify_sources
from yxanul.inspect.target import Target, TokenizerFinder
from yxanul.stages.data import check_header
from yxanul.tokenizer.tokenizer import Tokenizer


def verify(place: Target, tokenizers: TokenizerFinder, ui: Ui) -> dict[str, Any]:
    """Verify every file of a target's sources; return the results as JSON data."""
    checks = verify_sources(place.folders, tokenizers.of, ui)
    _compare_with_recipe(place, checks)
    sources = {name: check.to_dict() for name, check in checks.items()}
    ok = all(source["ok"] for source in sources.values())
    return {**place.facts, "ok": ok, "sources": sources}


def _compare_with_recipe(place: Target, checks: dict[str, Check]) -> None:
    """Add a fault for each source of a run whose shards do not match its recipe."""
    run, recipe = place.run, place.recipe
    if run is None or recipe is None or place.path != run.path:
        return
    data = run.data(recipe.data.folder)
    for name in place.missing:
        checks[name] = Check(faults=[Fault(data / name, "it is not encoded; run yxanul prepare")])
    if not run.tokenizer.is_file():
        checks[next(iter(checks))].faults.append(Fault(run.tokenizer, "it is missing"))
        return
    tokenizer = Tokenizer.load(run.tokenizer)
    for name, folder in place.folders.items():
        try:
            header = read_outline(folder).header
            if header.tokenizer != tokenizer.digest:
                continue  # already reported
            check_header(header, data, name, recipe, tokenizer)
        except YxanulError as error:
            checks[name].faults.append(Fault(folder, str(error)))
