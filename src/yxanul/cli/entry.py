"""Where a command begins: with signals, before anything that takes a while to import."""

from yxanul.cli.signals import end_by_signals


def main() -> None:
    """Run a verb. Signals come first: what is imported after them takes a while."""
    end_by_signals()
    from yxanul.cli.app import main as run_verb

    run_verb()
