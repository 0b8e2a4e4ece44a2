"""The commands; each imports what it runs only when it runs."""

from pathlib import Path

import click

from scoresample import __version__
from scoresample.cli.options import (
    as_settings,
    model_options,
    out_option,
    resume_option,
    running_options,
    sampling_options,
    scene_argument,
)
from scoresample.cli.program import BAD_INPUT, DONE, NOT_ALL_WELL, Program, complain
from scoresample.errors import FAILED, ConfigError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
_POPULATIONS = click.Choice(("general", "ring-boxes", "ztf-like"))


@click.group(cls=Program, context_settings=CONTEXT, no_args_is_help=False)
@click.version_option(__version__)
def main() -> None:
    """Posterior flux distributions for blended astronomical scenes.

    Exit status: 0 done; 1 ran, but not converged, ended early, or some scenes failed; 2 bad input or usage.
    """


@main.command()
@click.argument("scenes", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="SCENE...")
@out_option(required=True)
@sampling_options
@model_options
@resume_option
@running_options
def run(scenes: tuple[Path, ...], out: Path, resume: bool, quiet: bool, **options) -> int:
    """Go from scene files to flux catalogs: MAP, draws, verdict, catalog, report and picture.

    Several scenes have a folder each in OUT, and one catalog of them all.
    """
    settings = as_settings(options)
    from scoresample.cli import show
    from scoresample.products.pipeline import run_scene
    from scoresample.products.pipeline_scenes import run_scenes

    if len(scenes) == 1:
        result = run_scene(scenes[0], out, settings, resume=resume, progress=not quiet)
        click.echo(show.result(result, out))
        return _status([result])

    def begun(name: str) -> None:
        if not quiet:
            click.echo(name, err=True)

    def ended(result) -> None:
        if result.status.startswith(FAILED):
            complain(result.status.removeprefix(FAILED))
        click.echo(show.one_line(result))

    results = run_scenes(scenes, out, settings, resume=resume, progress=not quiet, begun=begun, ended=ended)
    status = _status(results)
    if status != BAD_INPUT:
        click.echo(f"catalog of all {len(results)} scenes: {out / 'fluxes.fits'}")
    return status


@main.command(context_settings={"default_map": {"warmup": 100, "draws": 400}})
@out_option(default=Path("scoresample-demo"), show_default=True)
@sampling_options
@model_options
@running_options
def demo(out: Path, quiet: bool, **options) -> int:
    """Run the shipped scene, a simulation, and show the truth beside the posterior."""
    settings = as_settings(options)
    from scoresample.cli import show
    from scoresample.data.demo import demo_file
    from scoresample.products.pipeline import run_scene

    with demo_file() as path:
        result = run_scene(path, out, settings, progress=not quiet)
    if result.report:
        click.echo(show.truth(result.report))
    click.echo(show.result(result, out, fluxes=False))
    return _status([result])


@main.command("map")
@scene_argument
@out_option(required=True)
@model_options
@running_options
def find_map(scene: Path, out: Path, quiet: bool, **options) -> int:
    """Find the MAP and keep it in OUT/map.npz: the first step of run."""
    settings = as_settings(options)
    from scoresample.cli import show
    from scoresample.products.pipeline_steps import map_scene

    best, chi2 = map_scene(scene, out, settings, progress=not quiet)
    click.echo(f"MAP: {best.status} after {len(best.history.log_prob)} steps; {show.chi2(chi2)}")
    click.echo(f"{out / 'map.npz'}")
    return DONE if best.status == "converged" else NOT_ALL_WELL


@main.command()
@scene_argument
@out_option(required=True)
@sampling_options
@resume_option
@running_options
def sample(scene: Path, out: Path, resume: bool, quiet: bool, **options) -> int:
    """Draw from the posterior, starting at OUT/map.npz, and keep the draws in OUT/draws.nc."""
    settings = as_settings(options)
    from scoresample.products.pipeline_steps import sample_scene

    draws = sample_scene(scene, out, settings, resume=resume, progress=not quiet)
    kept = draws.settings["num_kept"]
    click.echo(f"{draws.status}: {kept} draws of {draws.settings['num_chains']} chains in {out / 'draws.nc'}")
    return DONE if draws.status == "done" else NOT_ALL_WELL


@main.command()
@scene_argument
@out_option(required=True)
def diagnose(scene: Path, out: Path) -> int:
    """Judge OUT/draws.nc: table and verdict; writes OUT/report.json."""
    from scoresample.products.pipeline_steps import diagnose_scene

    diagnosis = diagnose_scene(scene, out)
    click.echo(repr(diagnosis))
    click.echo(f"{out / 'report.json'}")
    return DONE if diagnosis.converged else NOT_ALL_WELL


@main.command()
@scene_argument
@out_option(required=True)
def catalog(scene: Path, out: Path) -> int:
    """Write the flux catalog of OUT/draws.nc: fluxes.fits, fluxes.ecsv and flux_draws.fits."""
    from scoresample.products.pipeline_steps import catalog_scene

    table, diagnosis = catalog_scene(scene, out)
    click.echo(diagnosis.verdict)
    click.echo(f"{out / 'fluxes.fits'}: {len(table)} objects in {''.join(table.meta['bands'])}")
    return DONE if diagnosis.converged else NOT_ALL_WELL


@main.command()
@scene_argument
@out_option(required=True)
def plot(scene: Path, out: Path) -> int:
    """Write OUT/scene.png, of OUT/draws.nc or, while there are no draws, of OUT/map.npz."""
    from scoresample.products.pipeline_steps import plot_files

    click.echo(f"{out / 'scene.png'}, of {plot_files(scene, out)}")
    return DONE


@main.command()
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The set, .npz."
)
@click.option("--set", "population", type=_POPULATIONS, default="general",
              show_default=True, help="Which galaxies.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Of all galaxies.")
@click.option("--share", type=float, default=1.0, show_default=True, help="Of the usual number of galaxies.")
@click.option("--workers", type=int, help="Processes.  [default: one for every core]")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def simulate(out: Path, population: str, seed: int, share: float, workers: int | None, quiet: bool) -> int:
    """Draw galaxies to train a prior on: about 140,000, in boxes of 16 to 128 pixels."""
    try:
        from scoresample.training.dataset import write_training_set
        from scoresample.training.simulation import simulate_training_set
    except ModuleNotFoundError as error:
        raise ConfigError(f"simulate needs {error.name}; run pip install 'scoresample[sim]'.") from None
    galaxies = simulate_training_set(population, seed, share, workers=workers, progress=not quiet)
    write_training_set(out, galaxies)
    counts = ", ".join(f"{count} of {side} pixels" for side, count in galaxies.card["counts"].items())
    click.echo(f"{out}: {population} galaxies, {counts}")
    return DONE


@main.command()
@click.argument("galaxies", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The weights, .npz."
)
@click.option(
    "--kind",
    type=click.Choice(("residual", "dot", "square", "scalar", "score")),
    default="residual",
    show_default=True,
    help="Of the network.",
)
@click.option(
    "--steps", type=int, default=20_000, show_default=True, help="Batches, about 0.1 s each on 2 cores."
)
@click.option("--batch", type=int, default=32, show_default=True,
              help="Galaxies of 32 pixels a side in a batch; more for an accelerator.")  # fmt: skip
@click.option("--width", "widths", type=int, multiple=True, default=(16, 32, 48), show_default=True,
              help="Features at each resolution, from half to coarsest; given once for each.")  # fmt: skip
@click.option("--learning-rate", type=float, default=1.5e-3, show_default=True, help="Peak of the schedule.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of first weights, batches and noise.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint beside OUT.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def train(
    galaxies: Path,
    out: Path,
    kind: str,
    steps: int,
    batch: int,
    widths: tuple[int, ...],
    learning_rate: float,
    seed: int,
    resume: bool,
    quiet: bool,
) -> int:
    """Train a prior on GALAXIES, as simulate writes them; on CPU or GPU."""
    from scoresample.models.weights_file import write_network
    from scoresample.training.dataset import read_training_set
    from scoresample.training.trainer import TrainSettings, train

    settings = TrainSettings(kind, widths, steps, learning_rate, seed=seed, batch=batch)
    checkpoint = out.with_suffix(".checkpoint.npz")
    trained = train(read_training_set(galaxies), settings, checkpoint, resume=resume, progress=not quiet)
    write_network(out, trained.network, trained.tables, trained.card)
    click.echo(f"{out}: {kind} network, {steps} steps, loss {trained.card['loss']:.4f}")
    return DONE


@main.command()
@click.argument("galaxies", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("weights", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The weights, .npz."
)
@click.option(
    "--steps", type=int, default=4000, show_default=True, help="Batches, about 0.35 s each on 2 cores."
)
@click.option("--batch", type=int, default=32, show_default=True,
              help="Galaxies of 32 pixels a side in a batch; more for an accelerator.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Of chains, batches and noise.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint beside OUT.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def refine(
    galaxies: Path, weights: Path, out: Path, steps: int, batch: int, seed: int, resume: bool, quiet: bool
) -> int:
    """Go on training WEIGHTS, with chains that find what they wrongly take for galaxies."""
    from scoresample.models.weights_file import read_network, write_network
    from scoresample.training.dataset import read_training_set
    from scoresample.training.trainer import refinement, train

    found = read_network(weights)
    trained = train(
        read_training_set(galaxies),
        refinement(found.network, steps, seed, batch),
        out.with_suffix(".checkpoint.npz"),
        tables=found.tables,
        network=found.network,
        resume=resume,
        progress=not quiet,
    )
    write_network(out, trained.network, trained.tables, trained.card | {"before": found.card})
    click.echo(f"{out}: refined in {steps} steps, loss {trained.card['loss']:.4f}")
    return DONE


@main.command("report-prior")
@click.argument("name")
@out_option(required=True)
@click.option("--draws", type=int, default=2000, show_default=True, help="Of the prior.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of galaxies, noise and draws.")
@click.option("--share", type=float, default=1.0, show_default=True, help="Of the usual number of galaxies.")
@click.option("--set", "population", type=_POPULATIONS,
              help="Galaxies to compare with.  [default: those it was made from, or general]")  # fmt: skip
@click.option(
    "--noise-level", type=float, metavar="U", help="Of the prior, for its walk.  [default: its usual one]"
)
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def report_prior(
    name: str,
    out: Path,
    draws: int,
    seed: int,
    share: float,
    population: str | None,
    noise_level: float | None,
    quiet: bool,
) -> int:
    """Measure the prior NAME, shipped or a file of weights, against new galaxies: a table, pictures, report.json."""
    from scoresample.cli import show
    from scoresample.products.prior_report_files import report_prior_files

    figures = report_prior_files(
        name,
        out,
        population,
        noise_level=noise_level,
        draws=draws,
        seed=seed,
        share=share,
        progress=not quiet,
    )
    click.echo(show.prior_table(figures))
    click.echo(show.files(out))
    return DONE


def _status(results: list) -> int:
    """Return the exit status after some scenes."""
    if all(result.status.startswith(FAILED) for result in results):
        return BAD_INPUT
    return DONE if all(result.status == "done" and result.converged for result in results) else NOT_ALL_WELL
