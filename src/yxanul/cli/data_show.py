"""`yxanul data show`: the content of shards, and the rows that the model sees."""

from __future__ import annotations

from typing import Annotated, Any

from yxanul.base.errors import YxanulError, did_you_mean
from yxanul.cli.options import JsonOption, ShardsArgument, TokenizerOption, flag, option
from yxanul.cli.output import make_ui, print_json, print_text

NAME = "show"
EXAMPLES = """
yxanul data show runs/quickstart
yxanul data show runs/quickstart --source stories --document 3
yxanul data show runs/quickstart --source stories --position 100000 --seq-len 256 --rows 2
yxanul data show runs/quickstart --step 500
yxanul data show runs/quickstart --dropped
"""


def command(
    shards: ShardsArgument,
    source: Annotated[str | None, option("NAME", "Only this source.")] = None,
    split: Annotated[str | None, option("train|validation", "Only this split.")] = None,
    document: Annotated[
        int | None, option("N", "Show the whole text of document N, from 0.")
    ] = None,
    position: Annotated[
        int | None, option("P", "Show rows of the training stream, from token P on.")
    ] = None,
    seq_len: Annotated[
        int | None, option("T", "Tokens per row.  [default: the run's longest]")
    ] = None,
    rows: Annotated[
        int | None, option("R", "Number of rows.  [default: 1; with --step: 8]")
    ] = None,
    step: Annotated[
        int | None, option("N", "Show what a run reads in step N, numbered as in its metrics.")
    ] = None,
    dropped: Annotated[bool, flag("--dropped", "Show samples of dropped documents.")] = False,
    ids: Annotated[bool, flag("--ids", "Show the ids as well as the text.")] = False,
    full: Annotated[bool, flag("--full", "Do not truncate.")] = False,
    tokenizer: TokenizerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show figures and documents of encoded text, or rows exactly as the model sees them."""
    from yxanul.cli import data_text
    from yxanul.inspect.look import Look
    from yxanul.inspect.target import TokenizerFinder, find_target

    check_options(
        split=split,
        document=document,
        position=position,
        step=step,
        dropped=dropped or None,
        rows=rows,
        seq_len=seq_len,
    )
    place = find_target(shards, make_ui())
    look = Look(place, TokenizerFinder(place, tokenizer), with_ids=ids)
    splits: Any = (split,) if split else ("train", "validation")
    if document is not None:
        facts, text = look.document(source, splits[0], document), data_text.document
    elif position is not None:
        facts = look.stream(source, position, seq_len, 1 if rows is None else rows)
        text = data_text.stream
    elif step is not None:
        shown = None if as_json or full else data_text.ROWS_OF_A_STEP
        facts = look.step(step, source, shown if rows is None else rows)
        text = data_text.step
    elif dropped:
        facts, text = look.dropped(source), data_text.dropped
    else:
        facts, text = look.overview(source, splits), data_text.overview
    if as_json:
        print_json(facts)
    else:
        print_text(text(facts, full))


def check_options(**options: Any) -> None:
    """Raise if the options that are given cannot be combined."""
    given = {name: value for name, value in options.items() if value is not None}
    split = given.get("split", "train")
    if split not in ("train", "validation"):
        hint = did_you_mean(split, ("train", "validation"))
        raise YxanulError(f"unknown split '{split}'", expected="train or validation", hint=hint)
    kinds = [f"--{name}" for name in ("document", "position", "step", "dropped") if name in given]
    if len(kinds) > 1:
        raise YxanulError(f"{' and '.join(kinds)} cannot be combined")
    if split == "validation" and given.keys() & {"position", "step"}:
        raise YxanulError(
            f"{kinds[0]} reads only the training stream",
            hint="use --document for held-out text",
        )
    for name, needed in (
        ("rows", ("--position", "--step")),
        ("seq_len", ("--position",)),
    ):
        asked = f"--{name.replace('_', '-')}"
        if name in given and not set(kinds) & set(needed):
            raise YxanulError(f"{asked} needs {' or '.join(needed)}")
        if isinstance(given.get(name), int) and given[name] < 1:
            raise YxanulError(asked, got=given[name], expected="at least 1")
