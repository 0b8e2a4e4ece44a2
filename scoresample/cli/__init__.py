"""The command ``scoresample``. Nothing heavy is imported before a command runs."""

from scoresample.cli.commands import main

__all__ = ["main"]
