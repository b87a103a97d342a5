"""`yxanul data verify`: check all encoded text and report every fault."""

from __future__ import annotations

from typing import Any

from yxanul.base.errors import YxanulError
from yxanul.base.interrupt import StopRequest
from yxanul.cli.options import JsonOption, ShardsArgument, TokenizerOption
from yxanul.cli.output import make_ui, print_json, print_text

NAME = "verify"
EXAMPLES = """
yxanul data verify runs/quickstart
yxanul data verify runs/quickstart/data/stories --json
"""


def command(
    shards: ShardsArgument, tokenizer: TokenizerOption = None, as_json: JsonOption = False
) -> None:
    """Check every file: checksums, ids, documents, held-out text; report every fault."""
    from yxanul.cli.pictures import escape
    from yxanul.inspect.look import verify
    from yxanul.inspect.target import TokenizerFinder, find_target

    ui = make_ui()
    place = find_target(shards, ui)
    finder = TokenizerFinder(place, tokenizer)
    with StopRequest().handled():
        facts = verify(place, finder, ui)
    if not as_json:
        print_text(escape(verify_text(facts), keep="\n"))
    bad = [name for name, check in facts["sources"].items() if not check["ok"]]
    if bad:
        total = sum(len(facts["sources"][name]["faults"]) for name in bad)
        raise YxanulError(
            f"{shards} is damaged",
            got=f"{total} fault{'s' * (total > 1)} in {', '.join(bad)}",
            hint="delete the damaged files, and run `yxanul prepare` with its recipe",
            facts=facts,
        )
    if as_json:
        print_json(facts)


def verify_text(facts: dict[str, Any]) -> str:
    """Return a line for each source and each fault."""
    lines: list[str] = []
    for name, check in facts["sources"].items():
        documents, tokens, files = (check[key] for key in ("documents", "tokens", "files"))
        size = f"{documents:,} documents, {tokens:,} tokens, {files:,} files"
        faults = len(check["faults"])
        lines.append(
            f"{name}: {'OK' if check['ok'] else f'{faults} fault' + 's' * (faults > 1)}, {size}"
        )
        lines += [f"  {fault['where']}: {fault['fault']}" for fault in check["faults"]]
        lines += [f"  note: {note}" for note in check["notes"]]
        if check["ok"] and not check["with_tokenizer"]:
            lines.append("  no tokenizer: text was not compared with ids (--tokenizer)")
    return "\n".join(lines)
