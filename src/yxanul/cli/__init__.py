"""The command line, with one module per subcommand."""

from yxanul.cli.entry import main

__all__ = ["main"]
