"""`yxanul watch`: runs while they train, in the terminal or in a browser."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from yxanul.base.errors import Interrupted, YxanulError
from yxanul.base.interrupt import StopRequest
from yxanul.cli.options import JsonOption, argument, flag, option
from yxanul.cli.output import make_ui, print_json, print_text

if TYPE_CHECKING:
    from yxanul.report.facts import RunReader

NAME = "watch"
EXAMPLES = """
yxanul watch runs/quickstart
yxanul watch runs/a runs/b
yxanul watch runs/quickstart --web
"""

SECONDS_BETWEEN_LOOKS, SECONDS_BETWEEN_LINES = 1.0, 10.0


def command(
    runs: Annotated[list[Path], argument("RUN...", "Run folders.")],
    web: Annotated[bool, flag("--web", "Serve the report to a browser on this machine.")] = False,
    port: Annotated[int, option("N", "Port of --web; 0: any free one.", min=0, max=65535)] = 0,
    once: Annotated[bool, flag("--once", "Show the runs once and exit.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Follow runs until they end, or until Ctrl-C, which stops the watching only."""
    from yxanul.report.facts import RunReader
    from yxanul.report.live import live_facts

    readers = [RunReader(run) for run in runs]
    if as_json and not web:
        print_json({"runs": [live_facts(reader) for reader in readers]})
        return
    with contextlib.suppress(Interrupted), StopRequest().handled():
        if web:
            _serve(readers, port, as_json)
        elif sys.stdout.isatty() or once:
            _draw(readers, once)
        else:
            _log(readers)


def _draw(readers: list[RunReader], once: bool) -> None:
    """Draw the runs in place, again and again until they have ended."""
    from rich.console import Console
    from rich.live import Live

    from yxanul.cli.watch_screen import screen
    from yxanul.report.live import live_facts

    console, took = Console(highlight=False), 0.0
    facts = [live_facts(reader) for reader in readers]
    if once:
        console.print(screen(facts, console.width))
        return
    with Live(screen(facts, console.width), console=console, auto_refresh=False) as live:
        while not _have_ended(facts):
            time.sleep(max(SECONDS_BETWEEN_LOOKS, 20 * took))
            began = time.monotonic()
            facts = [live_facts(reader) for reader in readers]
            took = time.monotonic() - began
            live.update(screen(facts, console.width), refresh=True)


def _log(readers: list[RunReader]) -> None:
    """Print a line for each run that has moved, at most every ten seconds."""
    from yxanul.cli.watch_screen import line
    from yxanul.report.live import live_facts

    printed: dict[int, str] = {}
    while True:
        facts = [live_facts(reader) for reader in readers]
        for number, one in enumerate(facts):
            if printed.get(number) != (text := line(one)):
                printed[number] = text
                print_text(text)
        if _have_ended(facts):
            return
        time.sleep(SECONDS_BETWEEN_LINES)


def _have_ended(facts: list[dict[str, Any]]) -> bool:
    return all(one["status"] in ("passed", "failed") for one in facts)


def _serve(readers: list[RunReader], port: int, as_json: bool) -> None:
    """Serve the page until a signal comes."""
    from yxanul.report.server import PageServer

    try:
        server = PageServer(readers, port)
    except OSError as error:
        raise YxanulError(f"cannot listen on port {port}", got=error.strerror) from None
    with server:
        print_json({"url": server.url}) if as_json else print_text(server.url)
        make_ui().say(
            "open this address in a browser of this machine; Ctrl-C ends it. From another machine:"
            f" ssh -L {server.server_port}:127.0.0.1:{server.server_port} HOST"
        )
        server.serve_forever()
