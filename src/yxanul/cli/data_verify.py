"""`yxanul data verify`: read everything that is encoded, and name every fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yxanul.cli.data_place import Place, ShardsArgument, TokenizerOption
from yxanul.cli.options import JsonOption

if TYPE_CHECKING:
    from yxanul.data.verify import Check
    from yxanul.tokenizer.tokenizer import Tokenizer

NAME = "verify"
EXAMPLES = """**Examples**

`yxanul data verify runs/quickstart`

`yxanul data verify runs/quickstart/data/stories --json`"""


def command(
    shards: ShardsArgument, tokenizer: TokenizerOption = None, as_json: JsonOption = False
) -> None:
    """Read every file: checksums, ids, documents, held-out text; every fault is named."""
    from yxanul.base.errors import YxanulError
    from yxanul.base.interrupt import StopRequest
    from yxanul.cli.data_place import TokenizerFinder, find_place
    from yxanul.cli.output import make_ui, print_json, print_text
    from yxanul.cli.pictures import safe
    from yxanul.data.verify import verify_sources

    place = find_place(shards)
    finder = TokenizerFinder(place, tokenizer)
    with StopRequest().handled():
        checks = verify_sources(place.folders, finder.of, make_ui())
    _compare_with_recipe(place, checks)
    facts = verify_facts(place, checks)
    if not as_json:
        print_text(safe(verify_text(facts), keep="\n"))
    bad = [name for name, one in facts["sources"].items() if not one["ok"]]
    if bad:
        total = sum(len(facts["sources"][name]["faults"]) for name in bad)
        raise YxanulError(
            f"{shards} is not sound",
            found=f"{total} fault{'s' * (total > 1)} in {', '.join(bad)}",
            hint="delete what is damaged and run yxanul prepare: it makes it again",
            facts=facts,
        )
    if as_json:
        print_json(facts)


def verify_facts(place: Place, checks: dict[str, Check]) -> dict[str, Any]:
    """Return what was found, as plain data."""
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


def verify_text(facts: dict[str, Any]) -> str:
    """Return a line for each source, and one for each fault."""
    lines: list[str] = []
    for name, one in facts["sources"].items():
        size = f"{one['documents']:,} documents, {one['tokens']:,} tokens, {one['files']:,} files"
        faults = len(one["faults"])
        lines.append(
            f"{name}: {'OK' if one['ok'] else f'{faults} fault' + 's' * (faults > 1)}, {size}"
        )
        lines += [f"  {fault['where']}: {fault['fault']}" for fault in one["faults"]]
        lines += [f"  note: {note}" for note in one["notes"]]
        if one["ok"] and not one["with_tokenizer"]:
            lines.append("  no tokenizer is at hand: text was not compared with ids (--tokenizer)")
    return "\n".join(lines)


def _compare_with_recipe(place: Place, checks: dict[str, Check]) -> None:
    """What a run has encoded has to be what its recipe asks for."""
    from yxanul.base.errors import YxanulError
    from yxanul.data.manifest import read_outline
    from yxanul.data.verify import Check, Fault
    from yxanul.stages.data import check_header
    from yxanul.tokenizer.tokenizer import Tokenizer

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
                continue  # that is told already
            check_header(header, data, name, recipe, tokenizer)
        except YxanulError as error:
            checks[name].faults.append(Fault(folder, str(error)))
