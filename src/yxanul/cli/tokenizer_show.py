"""`yxanul tokenizer show`: a tokenizer's facts, or the tokens of a text."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from yxanul.cli.options import JsonOption, argument, option
from yxanul.cli.output import print_result

if TYPE_CHECKING:
    from yxanul.tokenizer.load import Description

NAME = "show"
EXAMPLES = """
yxanul tokenizer show byte --text "Hello world"
yxanul tokenizer show runs/quickstart
yxanul tokenizer show superbpe-t80k --text "By the way, I am a fan." --json
"""


def command(
    name: Annotated[
        str,
        argument(
            "NAME|FOLDER|FILE",
            "byte, gpt2, superbpe-t80k, owner/name on the hub, a run, a folder or a file.",
        ),
    ],
    text: Annotated[str | None, option("TEXT", "Show the tokens of this text.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show kind, size and special tokens, or with --text the ids and tokens of that text."""
    from yxanul.tokenizer.load import describe, open_named

    tokenizer = open_named(name)
    if text is None:
        facts = describe(tokenizer)
        shown = description_text(name, facts)
        print_result({"tokenizer": name, **asdict(facts)}, shown, as_json)
        return
    ids = tokenizer.encode(text)
    tokens = tokenizer.tokens(ids)
    size_bytes = len(text.encode())
    lines = [f"{len(ids):,} tokens, {size_bytes / max(len(ids), 1):.2f} bytes each"]
    lines += [f"{number:>8}  {token!r}" for number, token in zip(ids, tokens, strict=True)]
    print_result({"tokenizer": name, "ids": ids, "tokens": tokens}, "\n".join(lines), as_json)


def description_text(name: str, facts: Description) -> str:
    """Return the facts of a tokenizer as text."""
    lines = [
        f"{name}: {facts.kind}, {facts.vocab_size:,} ids, {facts.num_merges:,} merges",
        f"  end of text   {facts.end_of_text_id:>8}  {facts.end_of_text}",
    ]
    others = {t: i for t, i in facts.added_tokens.items() if t != facts.end_of_text}
    lines += [f"  added         {number:>8}  {token}" for token, number in others.items()]
    if facts.chat_template is not None:
        lines.append(f"  chat template {len(facts.chat_template):>8} characters of Jinja")
    return "\n".join([*lines, f"  digest        {facts.digest}"])
