"""The command line: the only part that talks to a person. One file a verb."""

from yxanul.cli.entry import main

__all__ = ["main"]
