"""The commands that compare methods on data whose truth is known."""

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
from scoresample.errors import ConfigError


@click.group()
def bench() -> None:
    """Compare methods on data whose truth is known."""


@bench.command()
@out_option(required=True)
@click.option(
    "--scenes", "num_scenes", type=int, default=200, show_default=True, help="How many to simulate."
)
@click.option("--gallery-seed", type=int, default=1, show_default=True, help="Of the scenes.")
@click.option("--method", "methods", multiple=True, metavar="METHOD[:VARIANT]",
              help="What to compare; may be given several times: oracle, posterior, map, parametric, constrained, "
              "scarlet2. "
              "Variants of posterior and map: bright, flat, blobs, ztf-like, offset, limited; of constrained the first "
              "three.  "
              "[default: all of which the library is installed, but map]")  # fmt: skip
@click.option(
    "--gradients", is_flag=True, help="Bulges redder than their disks: no image is right in all bands."
)
@click.option("--detection-error", type=float, default=0.1, show_default=True,
              help="Of detected positions in y and in x, pixels.")  # fmt: skip
@click.option("--bands", default="ugrizy", show_default=True, help="Of the scenes.")
@click.option("--side", type=int, default=48, show_default=True, help="Of the images, pixels.")
@click.option("--most", type=int, default=8, show_default=True, help="Largest number of sources in a scene.")
@click.option("--jobs", type=int, help="Processes.  [default: one for every core]")
@max_seconds_option
@starts_option
@drawing_options
@model_options
@running_options
def blends(
    out: Path,
    num_scenes: int,
    gallery_seed: int,
    methods: tuple[str, ...],
    gradients: bool,
    detection_error: float,
    bands: str,
    side: int,
    most: int,
    jobs: int | None,
    quiet: bool,
    **options,
) -> int:
    """Simulate blends of stars and galaxies, let methods take them apart, and measure how far each is from the truth.

    Scenes have 2 to 8 sources with i <= 27 in six bands. Every scene and method is kept in OUT as soon as it is done,
    and the same command goes on from there, also with more scenes or methods. Exit status: 0 all targets met; 1 not
    all; 2 bad input or usage.
    """
    settings = as_settings(options)
    try:
        from scoresample.training.gallery import Gallery
    except ModuleNotFoundError as error:
        raise ConfigError(f"bench blends needs {error.name}; run pip install 'scoresample[sim]'.") from None
    from scoresample.products.blends import bench_blends, installed

    gallery = Gallery(gallery_seed, gradients, detection_error, bands, side, most=most)
    for name in (
        () if methods else sorted({"constrained", "scarlet2"} - set(installed(("constrained", "scarlet2"))))
    ):
        click.echo(f"{name} is left out: its library is not installed", err=True)
    report = bench_blends(
        out, num_scenes, gallery, settings, methods=methods or None, workers=jobs, progress=not quiet
    )
    click.echo(repr(report))
    click.echo(f"{out / 'blends.json'}, {out / 'blends.csv'}, {out / 'blends.png'}, {out / 'intervals.png'}")
    return DONE if report.met and not report.failed else NOT_ALL_WELL
