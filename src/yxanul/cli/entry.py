"""The entry point: signal handlers are installed before any slow import."""

from yxanul.cli.signals import end_by_signals


def main() -> None:
    """Install the signal handlers, then run the command line."""
    end_by_signals()
    from yxanul.cli.app import main as run_verb

    run_verb()
