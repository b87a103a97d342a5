"""`yxanul data show`: the content of shards, and the rows that the model sees."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from yxanul.cli.options import JsonOption, ShardsArgument, TokenizerOption

NAME = "show"
ALL_CAUSES = "all"
EXAMPLES = """**Examples**

`yxanul data show runs/quickstart`

`yxanul data show runs/quickstart --source stories --document 3`

`yxanul data show runs/quickstart --source stories --position 100000 --seq-len 256 --rows 2`

`yxanul data show runs/quickstart --step 500`

`yxanul data show runs/quickstart --dropped too_short`"""


class Command(TyperCommand):
    """The command; the value of `--dropped` is optional."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give a `--dropped` without a cause the value for all causes."""
        complete: list[str] = []
        for index, arg in enumerate(args):
            following = args[index + 1] if index + 1 < len(args) else "-"
            alone = following.startswith("-") or Path(following).exists()
            complete.append(f"{arg}={ALL_CAUSES}" if arg == "--dropped" and alone else arg)
        return super().parse_args(ctx, complete)


def command(
    shards: ShardsArgument,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this source.", show_default=False)
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="train|validation", help="Only this split.")
    ] = None,
    document: Annotated[
        int | None, typer.Option(metavar="N", help="Show the whole text of document N, from 0.")
    ] = None,
    position: Annotated[
        int | None,
        typer.Option(metavar="P", help="Show rows of the training stream, from token P on."),
    ] = None,
    seq_len: Annotated[
        int | None, typer.Option(metavar="T", help="Tokens per row.  [default: the run's longest]")
    ] = None,
    rows: Annotated[
        int | None, typer.Option(metavar="R", help="Number of rows.  [default: 1; with --step: 8]")
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Show what a run reads in step N, numbered as in its metrics."
        ),
    ] = None,
    stage: Annotated[
        str | None, typer.Option(metavar="NAME", help="Number the step within this stage.")
    ] = None,
    dropped: Annotated[
        str | None, typer.Option(metavar="[CAUSE]", help="Show samples of documents left out.")
    ] = None,
    ids: Annotated[
        bool, typer.Option("--ids", metavar="", help="Show the ids as well as the text.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", metavar="", help="Do not truncate.")] = False,
    tokenizer: TokenizerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show figures and documents of encoded text, or rows exactly as the model sees them."""
    from yxanul.cli import data_text
    from yxanul.cli.output import make_ui, print_json, print_text
    from yxanul.inspect.look import Look
    from yxanul.inspect.target import TokenizerFinder, find_target

    asked = Asked(source, split, document, position, seq_len, rows, step, stage, dropped)
    asked.check()
    place = find_target(shards, make_ui())
    look = Look(place, TokenizerFinder(place, tokenizer), with_ids=ids)
    if document is not None:
        facts, text = look.document(source, asked.one_split, document), data_text.document
    elif position is not None:
        facts = look.stream(source, position, seq_len, 1 if rows is None else rows)
        text = data_text.stream
    elif step is not None:
        shown = None if as_json or full else data_text.ROWS_OF_A_STEP
        facts = look.step(step, stage, source, shown if rows is None else rows)
        text = data_text.step
    elif dropped is not None:
        facts = look.dropped(source, None if dropped == ALL_CAUSES else dropped)
        text = data_text.dropped
    else:
        facts, text = look.overview(source, asked.splits), data_text.overview
    if as_json:
        print_json(facts)
    else:
        print_text(text(facts, full))


@dataclass(frozen=True)
class Asked:
    """The selection on the command line."""

    source: str | None
    split: str | None
    document: int | None
    position: int | None
    seq_len: int | None
    rows: int | None
    step: int | None
    stage: str | None
    dropped: str | None

    def check(self) -> None:
        """Raise if options cannot be combined."""
        from yxanul.base.errors import YxanulError, near_miss

        if self.split not in (None, "train", "validation"):
            hint = near_miss(self.split, ("train", "validation"))
            raise YxanulError(
                f"unknown split '{self.split}'", expected="train or validation", hint=hint
            )
        kinds = {name: getattr(self, name) for name in ("document", "position", "step", "dropped")}
        given = [f"--{name}" for name, value in kinds.items() if value is not None]
        if len(given) > 1:
            raise YxanulError("options that cannot be combined", got=" and ".join(given))
        by_row = self.position is not None or self.step is not None
        if by_row and self.split == "validation":
            raise YxanulError(
                f"{given[0]} reads only the training stream",
                hint="use --document for held-out text",
            )
        for name, fits, needed in (
            ("rows", by_row, "--position or --step"),
            ("seq_len", self.position is not None, "--position"),
            ("stage", self.step is not None, "--step"),
        ):
            value = getattr(self, name)
            option = f"--{name.replace('_', '-')}"
            if value is not None and not fits:
                raise YxanulError(f"{option} needs {needed}")
            if isinstance(value, int) and value < 1:
                raise YxanulError(option, got=value, expected="at least 1")

    @property
    def one_split(self) -> Any:
        """The split of a document."""
        return self.split or "train"

    @property
    def splits(self) -> Any:
        """The splits whose documents are shown."""
        return (self.split,) if self.split else ("train", "validation")
