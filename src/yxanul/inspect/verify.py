"""Verification results of shards, and their comparison with the run's recipe."""

from __future__ import annotations

from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.data.manifest import read_outline
from yxanul.data.verify import Check, Fault
from yxanul.inspect.target import Target
from yxanul.stages.data import check_header
from yxanul.tokenizer.tokenizer import Tokenizer


def verify_facts(place: Target, checks: dict[str, Check]) -> dict[str, Any]:
    """Return the results as JSON data."""
    sources: dict[str, Any] = {
        name: {
            "ok": not check.faults,
            "documents": check.documents,
            "tokens": check.tokens,
            "files": check.files,
            "with_tokenizer": check.with_text,
            "faults": [{"where": str(fault.where), "fault": fault.what} for fault in check.faults],
            "notes": check.notes,
        }
        for name, check in checks.items()
    }
    ok = all(source["ok"] for source in sources.values())
    return {**place.facts, "ok": ok, "sources": sources}


def compare_with_recipe(place: Target, checks: dict[str, Check]) -> None:
    """Add a fault for each source of a run whose shards do not match its recipe."""
    run, recipe = place.run, place.recipe
    if run is None or recipe is None or not place.is_run:
        return
    data = run.data(recipe.data.folder)
    for name in place.missing:
        checks[name] = Check(faults=[Fault(data / name, "it is not encoded; run yxanul prepare")])
    if not run.tokenizer.is_file():
        checks[next(iter(checks))].faults.append(Fault(run.tokenizer, "it is missing"))
        return
    tokenizer: Tokenizer = Tokenizer.load(run.tokenizer)
    for name, folder in place.folders.items():
        try:
            header = read_outline(folder).header
            if header.tokenizer != tokenizer.digest:
                continue  # already reported
            check_header(header, data, name, recipe, tokenizer)
        except YxanulError as error:
            checks[name].faults.append(Fault(folder, str(error)))
