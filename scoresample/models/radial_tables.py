"""Mean and covariance of an isotropic ensemble of images, as functions of radius and box size."""

import dataclasses
import importlib.resources
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from scoresample.errors import FileFormatError, ShapeError

ARRAYS = ("boxes", "radius", "mean", "variance", "factors")


@dataclasses.dataclass(frozen=True, eq=False)
class RadialTables:
    r"""Mean and covariance of an isotropic ensemble of images, at several box sizes.

    An ensemble that looks the same in every direction has mean m(x) and covariance

    .. math:: C(x,\theta; x',\theta') = \sum_m \sum_k F_{mk}(x) F_{mk}(x') \cos m(\theta - \theta')

    in polar coordinates about the middle of the box, with x the distance in units of the box.

    Attributes
    ----------
    boxes
        Sides of the tabulated boxes in pixels, increasing.
    radius
        x of the nodes, from 0 to the corner of a square box, 1 / sqrt(2).
    mean, variance
        Of one pixel of u.
    factors
        F; the sum of their squares is at most ``variance``, the rest is structure that they do not follow.
    softening
        :math:`s_0`, where the images are :math:`\log(S / s_0 + 1) / 0.1`; 1 for u.
    """

    boxes: Float[np.ndarray, " size"]
    radius: Float[np.ndarray, " node"]
    mean: Float[np.ndarray, "size node"]
    variance: Float[np.ndarray, "size node"]
    factors: Float[np.ndarray, "size order node mode"]
    softening: float = 1.0

    def at(
        self, box: float
    ) -> tuple[Float[np.ndarray, " node"], Float[np.ndarray, " node"], Float[np.ndarray, "order node mode2"]]:
        """Return mean, variance and factors for a box: linear in log box, covariances mixed as covariances.

        Mixing keeps them positive. Tables at several sizes are needed because pixels, model PSF and sub-pixel
        shifts do not grow with the box. Outside the tabulated range the nearest table is used.
        """
        last = len(self.boxes) - 1
        place = float(np.interp(np.log(box), np.log(self.boxes), np.arange(last + 1)))
        low = min(int(place), max(last - 1, 0))
        high = min(low + 1, last)
        t = place - low
        factors = [np.sqrt(1 - t) * self.factors[low], np.sqrt(t) * self.factors[high]]
        return (
            (1 - t) * self.mean[low] + t * self.mean[high],
            (1 - t) * self.variance[low] + t * self.variance[high],
            np.concatenate(factors, axis=-1),
        )


def leading_modes(
    factors: Float[np.ndarray, "order node mode"],
    variance: Float[np.ndarray, " node"],
    area: Float[np.ndarray, " node"],
    rank: int,
) -> list[tuple[int, Float[np.ndarray, " node"]]]:
    r"""Return the modes (m, F_mk) that the data can tell best from independent pixel noise.

    Each order is diagonalized in the metric area / variance, pixels per node over variance of the unexplained
    part; a mode of eigenvalue l adds (l - log(1 + l)) / 2 to the expected log density. Modes with m > 0 come in
    pairs, cosine and sine, and a pair is never split, so the prior keeps the symmetry of the pixel grid.

    Parameters
    ----------
    factors
        Covariance factors by angular order.
    variance
        Of the part of a pixel that the modes need not explain, noise included.
    area
        Pixels that a node stands for.
    rank
        Largest number of columns; a mode of order 0 takes one, any other two.
    """
    weight = np.sqrt(area / variance)
    found = []
    for order, factor in enumerate(factors):
        vectors, amplitude, _ = np.linalg.svd(weight[:, None] * factor, full_matrices=False)
        share = 1.0 if order == 0 else 0.5  # the mean square of a cosine over angle
        gain = share * amplitude**2 - np.log1p(share * amplitude**2)
        found += [
            (gain[k], order, amplitude[k] * vectors[:, k] / weight)
            for k in range(len(gain))
            if amplitude[k] > 1e-6 * amplitude[0]
        ]
    found.sort(key=lambda mode: -mode[0])
    chosen, columns = [], 0
    for _, order, radial in found:
        columns += 1 if order == 0 else 2
        if columns > rank:
            break
        chosen.append((order, radial))
    return chosen


def in_pixels(
    tables: RadialTables, shape: tuple[int, int], rank: int, noise_level: float
) -> tuple[Float[np.ndarray, "y x"], Float[np.ndarray, "pixel mode"], Float[np.ndarray, "y x"]]:
    r"""Return mean, covariance factor and remaining variance of the pixels of one box.

    The box side that sets the scale of an image of h by w pixels is :math:`\sqrt{(h^2 + w^2)/2}`, so that its corner
    is where the corner of a square box is.

    Parameters
    ----------
    tables
        Of the ensemble.
    shape
        (y, x).
    rank
        Largest number of columns of the factor.
    noise_level
        Of each pixel, in u, that modes have to stand out of; it is not part of what is returned.

    Raises
    ------
    ShapeError
        If the shape is not two positive numbers.
    """
    if len(shape) != 2 or min(shape) < 1:
        raise ShapeError(f"shape is {tuple(shape)}; a morphology prior needs (y, x), both at least 1.")
    box = float(np.hypot(*shape) / np.sqrt(2))
    mean, variance, factors = tables.at(box)
    unexplained = np.maximum(variance - np.sum(factors**2, axis=(0, 2)), 0) + noise_level**2
    area = 2 * np.pi * tables.radius * np.gradient(tables.radius) * box**2
    modes = leading_modes(factors, unexplained, np.maximum(area, 1e-3), min(rank, int(np.prod(shape))))
    y, x = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij")
    radius, angle = np.hypot(y, x).ravel() / box, np.arctan2(y, x).ravel()
    at_pixels = lambda table: CubicSpline(tables.radius, table)(radius)
    columns = [np.zeros((radius.size, 0))]
    for order, radial in modes:
        profile = at_pixels(radial)
        waves = [np.cos(order * angle), np.sin(order * angle)][: 1 if order == 0 else 2]
        columns.append(np.stack([profile * wave for wave in waves], axis=-1))
    factor = np.concatenate(columns, axis=1)
    left = np.maximum(at_pixels(variance) - np.sum(factor**2, axis=1), 0)
    return at_pixels(mean).reshape(shape), factor, left.reshape(shape)


def shipped_tables(name: str) -> RadialTables:
    """Return the tables that come with the package, by the name of their prior."""
    resource = importlib.resources.files("scoresample.models") / "weights" / f"{name}.npz"
    with importlib.resources.as_file(resource) as path:
        return read_tables(path)


def read_tables(path: str | pathlib.Path) -> RadialTables:
    """Read the tables that ``python -m scoresample.training.gaussian`` writes.

    Raises
    ------
    FileFormatError
        If a key is missing.
    """
    with np.load(path) as file:
        missing = [name for name in ARRAYS if name not in file.files]
        if missing:
            raise FileFormatError(
                f"{path} lacks {', '.join(missing)}; it holds {', '.join(file.files)}. "
                "Write it again with python -m scoresample.training.gaussian."
            )
        tables = {name: np.asarray(file[name], float) for name in ARRAYS}
        return RadialTables(
            **tables, softening=float(file["softening"]) if "softening" in file.files else 1.0
        )


def read_tables_card(path: str | pathlib.Path) -> dict[str, Any]:
    """Return what is noted with tables: which galaxies, how many for each box, and their seed; the versions."""
    with np.load(path) as file:
        galaxies = {
            "population": str(file["population"]) if "population" in file.files else "general",
            "seed": int(file["seed"]),
            "galaxies": int(file["galaxies"]),
        }
        if "companions" in file.files:
            galaxies["companions"] = float(file["companions"])
        return {"training_set": galaxies, "versions": str(file["versions"])}
