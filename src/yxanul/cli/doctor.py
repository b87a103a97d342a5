"""`yxanul doctor`: installed packages, working features, measured speeds, and advice."""

from __future__ import annotations

from typing import Annotated

import typer

from yxanul.cli.options import JsonOption

NAME = "doctor"
EXAMPLES = """**Examples**

`yxanul doctor`

`yxanul doctor --no-compile --json`"""


def command(
    compile_check: Annotated[
        bool,
        typer.Option("--compile/--no-compile", help="Also test torch.compile (up to a minute)."),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Test and time devices, dtypes, attention and compile back ends, and give advice."""
    from yxanul.base.interrupt import StopRequest
    from yxanul.cli.output import make_ui, print_json, print_text
    from yxanul.plan.doctor import examine

    with StopRequest().handled():
        report = examine(make_ui(), with_compile=compile_check)
    if as_json:
        print_json(report)
        return
    for section, facts in report.items():
        print_text(section)
        rows = facts.items() if isinstance(facts, dict) else ((line, "") for line in facts)
        for name, value in rows:
            print_text(f"  {name:<28}{value}".rstrip())
