"""The command ``scoresample``. Nothing heavy is imported before a command runs."""

from scoresample.cli.calibration import calibrate
from scoresample.cli.commands import main

main.add_command(calibrate)

__all__ = ["main"]
