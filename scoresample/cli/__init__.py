"""The command ``scoresample``. Nothing heavy is imported before a command runs."""

from scoresample.cli.bench import bench
from scoresample.cli.calibration import calibrate
from scoresample.cli.commands import main

main.add_command(calibrate)
main.add_command(bench)

__all__ = ["main"]
