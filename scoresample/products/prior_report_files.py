"""A prior's report card as files."""

import json
from pathlib import Path
from typing import Any

from scoresample.errors import ConfigError
from scoresample.models.load import load_prior, prior_card, prior_hash
from scoresample.numerics.files import replacing
from scoresample.products.plain import plain
from scoresample.products.prior_report import COUNTS, report_prior
from scoresample.products.prior_report_plots import plot_prior_report


def report_prior_files(
    name: str | Path,
    out: str | Path,
    population: str | None = None,
    *,
    noise_level: float | None = None,
    draws: int = 2000,
    seed: int = 0,
    share: float = 1.0,
    progress: bool = True,
) -> dict[str, Any]:
    """Measure a prior against new galaxies and write ``report.json`` and pictures to a folder; return the figures.

    Parameters
    ----------
    name
        As for `load_prior`.
    out
        The folder.
    population
        Of the galaxies, as `simulate_training_set` has them; by default those that the prior was trained on, or else
        the general ones.
    noise_level
        Of the prior, for its walk and its curl; None for its usual one.
    draws, seed, share
        How many draws of the prior, what decides all, and the part of the usual number of galaxies.
    progress
        Whether to show bars.

    Raises
    ------
    ConfigError
        If there is no such prior, a number is out of range, or GalSim is not there.
    """
    prior, card = load_prior(name, noise_level=noise_level), prior_card(name)
    if min(draws, share) <= 0 or not 0 <= seed < 2**32:
        raise ConfigError(
            f"draws is {draws}, share {share:g} and seed {seed}; the first two must be positive and the "
            "seed in 0 to 2**32 - 1."
        )
    try:
        from scoresample.training.simulation import POPULATIONS, simulate_training_set
    except ModuleNotFoundError as error:
        raise ConfigError(f"report-prior needs {error.name}; run pip install 'scoresample[sim]'.") from None
    trained_on = card.get("training_set", {}).get("population")
    population = population or (trained_on if trained_on in POPULATIONS else "general")
    # Galaxies are numbered: a seed of its own keeps them apart from any that a network was trained on.
    galaxies = simulate_training_set(population, _REPORT_SEED + seed, share, counts=COUNTS, progress=progress)
    images = {side: galaxies.coordinates(side) for side in galaxies.images}
    report = report_prior(prior, images, seed=seed, num_draws=draws, progress=progress)
    figures = report.figures | {"galaxies": galaxies.card}
    figures["prior"] = figures["prior"] | {"sha256": prior_hash(name), "card": card}
    with replacing(Path(out) / "report.json") as temporary:
        temporary.write_text(json.dumps(plain(figures), indent=1) + "\n")
    plot_prior_report(report, out)
    return figures


_REPORT_SEED = 1_000_000
