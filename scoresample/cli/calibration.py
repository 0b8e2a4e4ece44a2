"""The command that measures whether error bars hold the truth as often as they say."""

from pathlib import Path

import click

from scoresample.cli.options import (
    as_settings,
    drawing_options,
    max_seconds_option,
    model_options,
    out_option,
    running_options,
    starts_option,
)
from scoresample.cli.program import DONE, NOT_ALL_WELL


@click.command()
@click.argument("scene", required=False, type=click.Path(path_type=Path))
@out_option(required=True)
@click.option(
    "--scenes", "num_scenes", type=int, default=100, show_default=True, help="How many to simulate."
)
@click.option("--scatter", type=float, default=0.3, show_default=True,
              help="Standard deviation of true fluxes around those of SCENE, as a part of them.")  # fmt: skip
@click.option("--workers", type=int, help="Processes.  [default: one for every core]")
@max_seconds_option
@starts_option
@drawing_options
@model_options
@running_options
def calibrate(
    scene: Path | None,
    out: Path,
    num_scenes: int,
    scatter: float,
    workers: int | None,
    quiet: bool,
    **options,
) -> int:
    """Draw scenes like SCENE from the model, sample each, and see where the truth stands among the draws.

    SCENE gives PSFs, noise, positions and fluxes; by default the shipped scene. Every scene is kept in OUT as soon as
    it is done, and the same command goes on from there. Exit status: 0 passed; 1 not passed; 2 bad input or usage.
    """
    settings = as_settings(options)
    from scoresample.products.calibration import calibrate as run

    found = run(scene, out, num_scenes, settings, scatter=scatter, workers=workers, progress=not quiet)
    click.echo(repr(found))
    click.echo(f"{out / 'calibration.json'}, {out / 'calibration.png'}")
    return DONE if found.passed else NOT_ALL_WELL
