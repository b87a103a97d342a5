"""The entry point: signal handlers are installed before any slow import."""

from yxanul.cli import signals


def main() -> None:
    """Install the signal handlers, then run the command line."""
    signals.end_by_signals()
    from yxanul.cli.app import main as run_verb

    try:
        run_verb()
    except SystemExit as end:
        signals.exit_code = end.code if isinstance(end.code, int) else 1
        raise
