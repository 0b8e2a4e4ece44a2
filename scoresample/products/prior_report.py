"""The report card of a prior: figures that say how far to trust it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from scoresample.diagnostics.curl import curl
from scoresample.diagnostics.prior_checks import (
    at_noise_level,
    box_difference,
    denoise,
    noise_left,
    ring_test,
    scores,
    scores_at,
    walk,
)
from scoresample.errors import ConfigError, DataError, ShapeError
from scoresample.models.brightness import of_usual_brightness
from scoresample.models.learned_prior import NOISE_LEVELS, LearnedPrior
from scoresample.models.morphology import to_morphology
from scoresample.models.priors import AbstractLogPrior, AbstractPrior
from scoresample.training.image_statistics import ImageStatistics, distances, image_statistics

SIDE = 32
"""Boxes in which draws are compared with data."""

LEVELS = (0.05, 0.1, 0.14, 0.2, 0.5, 1.0, 2.0, 5.0)
RING_LEVELS = (0.05, 0.14, 0.3, 0.5, 0.6, 1.0)

COUNTS = {16: 500, 17: 200, 25: 200, SIDE: 10_000, 49: 200, 64: 2_000, 128: 100}
"""Galaxies of each side that a report needs, none of which was trained on."""

LIMITS = {
    "noise left, 32 pixels, noise 0.14": 0.05,
    "noise left, 64 pixels, noise 0.14": 0.025,
    "draws, total flux": 0.05,
    "draws, half-light radius": 0.05,
    "draws, ellipticity": 0.05,
    "draws, concentration": 0.05,
    "draws, asymmetry": 0.05,
    "walk, total flux": 0.1,
    "walk, half-light radius": 0.1,
    "walk, ellipticity": 0.1,
    "walk, concentration": 0.1,
    "walk, asymmetry": 0.1,
    "walk, moves refused": 0.3,
    "curl": 1e-5,
}
"""What a shipped prior has to keep to. Of draws and walks: Kolmogorov-Smirnov distances to galaxies it has not seen.

256 walks come to 0.086 by chance alone once in twenty, 2,000 draws to 0.033."""

_WORDS = dict(
    zip(
        ImageStatistics._fields,
        ("total flux", "half-light radius", "ellipticity", "concentration", "asymmetry"),
        strict=True,
    )
)
_AT_MOST = {
    16: 192,
    17: 192,
    25: 192,
    SIDE: 192,
    64: 96,
    128: 24,
}  # galaxies whose noise is removed, of each side
_PART = 250  # draws between two looks at progress
_CHANCE = 1.358  # Kolmogorov's distribution, 5 %


class PriorReport(NamedTuple):
    """A report, and the images that its pictures show.

    Attributes
    ----------
    figures
        All numbers, as in ``report.json``.
    data, draws
        Morphologies S of galaxies, with the noise that draws have, and of draws.
    denoised, walked
        Morphologies S of galaxies, denoised by the prior, and of others after a walk, denoised as well.

    All but ``data`` are empty where the prior has no density.
    """

    figures: dict[str, Any]
    data: Float[np.ndarray, "n y x"]
    draws: Float[np.ndarray, "n y x"]
    denoised: Float[np.ndarray, "n y x"]
    walked: Float[np.ndarray, "n y x"]


def report_prior(
    prior: AbstractPrior,
    galaxies: Mapping[int, Float[np.ndarray, "n y x"]],
    *,
    seed: int = 0,
    num_draws: int = 2000,
    num_walkers: int = 256,
    progress: bool = True,
) -> PriorReport:
    r"""Measure a prior against galaxies it has not seen.

    - ``noise_left``: the share of noise that stays after denoising, :math:`\langle (D - u)^2 \rangle / \sigma^2`, by
      side and noise level. 1 is a prior that knows nothing; the least possible value is not 0.
    - ``draws``: Kolmogorov-Smirnov distances of five statistics between draws and galaxies, both with as little noise
      as the prior knows; with ``chance``, what draws from the right distribution exceed once in twenty.
    - ``walk``: the same for galaxies after Hamiltonian Monte Carlo on the prior alone, at its noise level, against
      galaxies with that noise, both denoised by the prior: an energy with false minima shows here. ``moved`` is how far
      they came, 1 if an end has no more to do with its start than with another galaxy.
    - ``curl``: |J - J^T| / |J| of the score at noisy galaxies; 0 to rounding for a gradient.
    - ``ring``: what is removed of a ring of a tenth of the peak, by noise level (the paper's fig. 4).
    - ``boxes``: rms of the difference of scores, times the noise level, of one galaxy in boxes of 64 and 32 pixels.

    Parameters
    ----------
    prior
        Any; what it cannot do is left out.
    galaxies
        Images u by side, without noise, as many as `COUNTS` says for figures that mean something; 32 pixels are needed.
        Sides that the prior is not for are left out. For a learned prior they are brought to the scale that it fixes
        (`models.brightness`).
    seed
        Of noise and draws.
    num_draws, num_walkers
        Draws to make, and galaxies to walk from: half of those of 32 pixels at most.
    progress
        Whether to show bars.

    Raises
    ------
    ConfigError
        If a number is below 1, the seed negative, or the prior has no noise level or more numbers than pixels.
    DataError
        If there are fewer than 100 galaxies of 32 pixels, or images have another shape or are not finite.
    ShapeError
        If the prior is not for images of 32 pixels.
    """
    if min(num_draws, num_walkers) < 1 or not 0 <= seed < 2**32:
        raise ConfigError(
            f"num_draws is {num_draws}, num_walkers {num_walkers} and seed {seed}; the first two must be at least 1 "
            "and the seed in 0 to 2**32 - 1."
        )
    if not prior.noise_level > 0:
        raise ConfigError(
            f"prior {prior.name!r} has noise_level {prior.noise_level:g}; a report needs more than 0."
        )
    if prior.for_shape((SIDE, SIDE)).coordinate_shape((SIDE, SIDE)) != (SIDE, SIDE):
        raise ConfigError(
            f"prior {prior.name!r} has numbers beside those of the pixels, and a report adds noise to pixels alone; "
            "see docs/priors.md for what was measured of it."
        )
    galaxies, given, prior = _usable(prior, galaxies), prior, prior.of_coordinate()
    galaxies = {side: _to_coordinate(given, images) for side, images in galaxies.items()}
    in_u = partial(_from_coordinate, given)
    known = galaxies[SIDE]
    rng = np.random.default_rng(seed)
    key_draws, key_walk, key_curl = jax.random.split(jax.random.key(seed), 3)
    noise = rng.normal(size=known.shape).astype(np.float32)
    noisy = known + prior.noise_level * noise
    figures: dict[str, Any] = {"prior": {"name": given.name, "noise_level": given.noise_level}}
    figures["noise_left"] = _noise_left(prior, galaxies, seed)
    data, draws = known, known[:0]
    denoised = walked = draws
    if isinstance(prior, AbstractLogPrior):
        sharp = _sharpest(prior)
        draws = _draw(sharp, key_draws, num_draws, progress)
        data = known + sharp.noise_level * noise
        figures["draws"] = {"noise_level": sharp.noise_level} | _compare(in_u(draws), in_u(data))
        num_walkers = min(num_walkers, len(known) // 2)
        starts, others = np.split(noisy, [num_walkers])
        ends = walk(key_walk, prior, starts)
        begun, walked, denoised = (denoise(prior, images) for images in (starts, ends.images, others))
        apart = np.mean((denoised[:num_walkers] - begun) ** 2)
        figures["walk"] = {
            "acceptance": ends.acceptance,
            "moved": float(np.sqrt(np.mean((walked - begun) ** 2) / apart)),
        } | _compare(in_u(walked), in_u(denoised))
    twist = curl(key_curl, prior, noisy[:16], 64)
    figures["curl"] = {"value": twist.value, "error": twist.error}
    figures["ring"] = _ring(prior, known[:48])
    if isinstance(prior, LearnedPrior) and 64 in galaxies:
        figures["boxes"] = _boxes(prior, galaxies[64], rng)
    return PriorReport(
        figures, *(np.asarray(to_morphology(jnp.asarray(in_u(w)))) for w in (data, draws, denoised, walked))
    )


def verdict_rows(figures: Mapping[str, Any]) -> list[tuple[str, float, float | None]]:
    """Return what was measured, its value, and its limit where there is one: the rows of the table.

    What has a limit and was not measured has the value NaN.
    """
    found = {}
    for side, values in figures["noise_left"].items():
        for level in ("0.05", "0.14", "0.5"):
            if level in values:
                found[f"noise left, {side} pixels, noise {level}"] = values[level]
    for part in ("draws", "walk"):
        for name, value in figures.get(part, {}).get("distances", {}).items():
            found[f"{part}, {_WORDS[name]}"] = value
    if "walk" in figures:
        found["walk, moves refused"] = 1 - figures["walk"]["acceptance"]
        found["walk, moved"] = figures["walk"]["moved"]
    found["curl"] = figures["curl"]["value"]
    for level, values in figures["ring"].items():
        found[f"ring removed, noise {level}"] = values["removed"]
    if "boxes" in figures:
        found["score in 64 and 32 pixels, rms difference"] = figures["boxes"]["rms_difference"]
    missing = dict.fromkeys((what for what in LIMITS if what not in found), np.nan)
    return [(what, value, LIMITS.get(what)) for what, value in (found | missing).items()]


def _usable(prior, galaxies) -> dict[int, Float[np.ndarray, "n y x"]]:
    """Return the galaxies whose sides the prior is for, or raise `DataError` or `ShapeError`."""
    number = len(galaxies.get(SIDE, ()))
    if number < 100:
        raise DataError(
            f"a report needs at least 100 galaxies of {SIDE} pixels a side, and there are {number}."
        )
    prior.for_shape((SIDE, SIDE))
    usable = {}
    for side, images in galaxies.items():
        images = np.asarray(images, np.float32)
        if images.shape[1:] != (side, side) or not np.isfinite(images).all():
            raise DataError(
                f"galaxies of side {side} have shape {images.shape} and {int(np.sum(~np.isfinite(images)))} values "
                f"that are not finite; needed are images u of shape (galaxy, {side}, {side}), all finite."
            )
        try:
            prior.for_shape((side, side))
        except ShapeError:
            continue
        usable[side] = _of_usual_brightness(images) if isinstance(prior, LearnedPrior) else images
    return usable


def _to_coordinate(prior: AbstractPrior, images: Float[np.ndarray, "n y x"]) -> Float[np.ndarray, "n y x"]:
    """Return images u in the coordinate that the noise of a prior is in."""
    return np.asarray(jax.lax.map(prior.to_unconstrained, jnp.asarray(images), batch_size=_PART))


def _from_coordinate(prior: AbstractPrior, images: Float[np.ndarray, "n y x"]) -> Float[np.ndarray, "n y x"]:
    """Return u of images in the coordinate that the noise of a prior is in."""
    value = lambda position: prior.to_constrained(position)[0]
    return np.asarray(jax.lax.map(value, jnp.asarray(images), batch_size=_PART))


def _of_usual_brightness(images: Float[np.ndarray, "n y x"]) -> Float[np.ndarray, "n y x"]:
    return np.asarray(jax.lax.map(of_usual_brightness, jnp.asarray(images), batch_size=_PART))


def _scores_by_level(
    prior: AbstractPrior, levels: Sequence[float]
) -> dict[float, Callable[[np.ndarray], np.ndarray]]:
    """Return the score at each of some noise levels, or at the prior's own where it knows no other."""
    if isinstance(prior, LearnedPrior):
        return {level: partial(scores_at, prior, noise_level=level) for level in levels}
    return {prior.noise_level: partial(scores, prior)}


def _noise_left(prior, galaxies, seed) -> dict[str, dict[str, float]]:
    found = {}
    for side, images in sorted(galaxies.items()):
        few = images[: _AT_MOST.get(side, 64)]
        noise = np.random.default_rng(seed).normal(size=few.shape).astype(np.float32)
        by_level = _scores_by_level(prior, LEVELS).items()
        found[str(side)] = {f"{level:g}": noise_left(score, level, few, noise) for level, score in by_level}
    return found


def _ring(prior, images) -> dict[str, dict[str, float]]:
    by_level = _scores_by_level(prior, RING_LEVELS).items()
    return {f"{level:g}": ring_test(score, level, images)._asdict() for level, score in by_level}


def _sharpest(prior: AbstractLogPrior) -> AbstractLogPrior:
    """Return the prior with the least noise it knows: draws then show the most."""
    return at_noise_level(prior, NOISE_LEVELS[0]) if isinstance(prior, LearnedPrior) else prior


def _draw(prior: AbstractLogPrior, key, number: int, progress: bool) -> Float[np.ndarray, "n y x"]:
    parts = []
    with tqdm(total=number, desc="draws of the prior", disable=not progress) as bar:
        for first in range(0, number, _PART):
            size = min(_PART, number - first)
            parts.append(np.asarray(prior.sample(jax.random.fold_in(key, first), (SIDE, SIDE), size)))
            bar.update(size)
    return np.concatenate(parts)


def _compare(images, galaxies) -> dict[str, Any]:
    """Return distances between images u and galaxies u, and what chance alone gives."""
    numbers = len(images), len(galaxies)
    chance = _CHANCE * np.sqrt(sum(1 / n for n in numbers))
    one, other = (image_statistics(np.asarray(to_morphology(jnp.asarray(u)))) for u in (images, galaxies))
    found = distances(one, other)
    return {"number": numbers[0], "number_of_galaxies": numbers[1], "chance": chance, "distances": found}


def _boxes(prior, images, rng) -> dict[str, Any]:
    """Compare scores in two boxes, for galaxies whose light is inside the smaller."""
    begin = (64 - SIDE) // 2
    outside = np.ones((64, 64), bool)
    outside[begin : begin + SIDE, begin : begin + SIDE] = False
    fits = images[np.abs(images[:, outside]).max(axis=1) < 0.5 * prior.noise_level][:48]
    noisy = fits + prior.noise_level * rng.normal(size=fits.shape).astype(np.float32)
    return {
        "number": len(fits),
        "rms_difference": box_difference(prior, noisy, SIDE) if len(fits) else np.nan,
    }
