"""The entry point: signal handlers are installed before any slow import."""

import contextlib
import sys

from yxanul.cli import signals


def main() -> None:
    """Run the command line, with signals handled from the first moment on."""
    signals.end_by_signals()
    try:
        run()
    except SystemExit as end:
        signals.exit_code = end.code if isinstance(end.code, int) else 1
        raise


def run() -> None:
    """Run the command line; turn errors into one line or object and an exit code."""
    from yxanul.cli.errors import handle_errors
    from yxanul.cli.output import only_json_on_stdout

    as_json = "--json" in sys.argv
    with only_json_on_stdout() if as_json else contextlib.nullcontext(), handle_errors(as_json):
        run_verb()


def run_verb() -> None:
    """Parse the command line and run its subcommand; errors propagate."""
    import typer

    from yxanul.cli.app import app, hide_type_of_help

    command = typer.main.get_command(app)
    hide_type_of_help(command)
    with command.make_context("yxanul", sys.argv[1:] or ["--help"]) as context:
        command.invoke(context)
        context.exit()
