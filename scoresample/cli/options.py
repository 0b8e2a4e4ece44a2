"""Options that several commands share, with the defaults of `RunSettings`."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import click

from scoresample.products.pipeline_settings import IMAGES, PRIOR_NOISE, SAMPLERS, STARTS, RunSettings

_DEFAULTS = RunSettings()
_FOLDER = click.Path(file_okay=False, path_type=Path)


def scene_argument(function: Callable) -> Callable:
    """Add the argument SCENE."""
    return click.argument("scene", type=click.Path(path_type=Path))(function)


def out_option(**more) -> Callable:
    """Return an adder of ``-o OUT``."""
    return click.option("-o", "--out", type=_FOLDER, help="Folder of the results.", **more)


def model_options(function: Callable) -> Callable:
    """Add what decides the model and its MAP."""
    for option in (
        click.option("--prior", default=_DEFAULTS.prior, show_default=True,
                     help="Prior of galaxy images: profile, log-gaussian, gaussian, galaxies, ztf-like, or a file of "
                     "weights."),
        click.option("--noise-level", type=float, default=_DEFAULTS.noise_level, metavar="U",
                     help="Blur that is part of the prior.  [default: gaussian 0.14, profile and log-gaussian 0.15, "
                     "others 0.3]"),
        click.option("--prior-noise", type=click.Choice(PRIOR_NOISE), default=_DEFAULTS.prior_noise, show_default=True,
                     help="Whether scenes show the noise of a learned prior: cheaper, and wrong for bright galaxies."),
        click.option("--least-flux", type=float, default=_DEFAULTS.least_flux, metavar="S",
                     help="Where fluxes end, in units of the error that each would have alone, such as -2: for blends "
                     "in which large fluxes of opposite sign cancel.  [default: any flux]"),
        click.option("--bad-plane", "bad_planes", multiple=True, metavar="NAME",
                     help="Mask plane, by name or bit number, that takes pixels out; may be given several times.  "
                     "[default: BAD, SAT, EDGE, NO_DATA]"),
        click.option("--psf-bands", default="", metavar="BANDS", callback=_split,
                     help="Bands that the PSFs of the file belong to, in their order, with commas: r,z,g,i,u,y.  "
                     "[default: the order of the images]"),
        click.option("--stars/--no-stars", default=_DEFAULTS.stars, show_default=True,
                     help="Whether sources that the catalog calls stars are points, or galaxies like all others."),
        click.option("--background/--no-background", default=_DEFAULTS.background, show_default=True,
                     help="A free constant background in every band."),
        click.option("--max-steps", type=int, default=_DEFAULTS.max_steps, show_default=True,
                     help="Largest number of steps to the MAP."),
    ):  # fmt: skip
        function = option(function)
    return function


max_seconds_option = click.option(
    "--max-seconds",
    type=float,
    default=_DEFAULTS.max_seconds,
    metavar="S",
    help="Time for one scene, until it is drawn; what is there by then is kept.  [default: any]",
)


starts_option = click.option(
    "--starts",
    type=click.Choice(STARTS),
    default=_DEFAULTS.starts,
    show_default=True,
    help="Where chains begin: around the MAP, or where climbs from draws of the prior end.",
)


def sampling_options(function: Callable) -> Callable:
    """Add what decides the draws, for how long, and which of them are kept."""
    for option in (
        max_seconds_option,
        starts_option,
        click.option("--images", type=click.Choice(IMAGES), default=_DEFAULTS.images, show_default=True,
                     help="Which draws of the images draws.nc keeps; thin is every tenth."),
    ):  # fmt: skip
        function = option(function)
    return drawing_options(function)


def drawing_options(function: Callable) -> Callable:
    """Add what decides the draws."""
    sizes = {
        "max_draws": "Where the verdict is not passed, chains go on: half as many draws again at a time, up to this.",
        "draws": "Draws of each chain.",
        "warmup": "Warm-up steps of each chain.",
        "chains": "Chains.",
    }
    for option in (
        click.option("--seed", type=int, default=_DEFAULTS.seed, show_default=True, help="Of everything random."),
        *(click.option(f"--{name.replace('_', '-')}", type=int, default=getattr(_DEFAULTS, name), show_default=True,
                       help=text)
          for name, text in sizes.items()),
        click.option("--sampler", type=click.Choice(SAMPLERS), default=_DEFAULTS.sampler, show_default=True,
                     help="How to draw."),
    ):  # fmt: skip
        function = option(function)
    return function


def running_options(function: Callable) -> Callable:
    """Add what changes no number."""
    for option in (
        click.option("--compile-cache", type=_FOLDER, metavar="DIR", callback=_use_compile_cache, expose_value=False,
                     help="Keep compiled code in this folder, for faster starts of later runs."),
        click.option("-q", "--quiet", is_flag=True, help="No progress on stderr."),
    ):  # fmt: skip
        function = option(function)
    return function


def _split(_context, _parameter, text: str) -> tuple[str, ...]:
    """Return the parts of a list with commas."""
    return tuple(part.strip() for part in text.split(",")) if text else ()


resume_option = click.option(
    "--resume",
    is_flag=True,
    help="Go on with an interrupted run of the same file and settings; skip finished ones.",
)


def as_settings(options: dict) -> RunSettings:
    """Return the settings among the options of a command."""
    names = {field.name for field in fields(RunSettings)}
    return RunSettings(**{name: value for name, value in options.items() if name in names})


def _use_compile_cache(_context, _parameter, folder: Path | None) -> None:
    if folder is not None:
        import jax

        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
