"""Measure the tables of the Gaussian morphology prior.

``python -m scoresample.training.gaussian --seed 1 --galaxies 4000 --output gaussian.npz``
``python -m scoresample.training.gaussian --seed 1 --galaxies 4000 --softening 0.01 --ring-boxes
--output log-gaussian.npz``
``python -m scoresample.training.gaussian --seed 1 --galaxies 1200 --softening 0.01 --about-profiles --companions 0.2
--boxes 16 24 32 48 64 96 128 --output profile.npz``
"""

import argparse
import pathlib
from collections.abc import Sequence

import galsim
import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates
from tqdm import tqdm

from scoresample.models.morphology import COORDINATE_SCALE
from scoresample.models.radial_tables import RadialTables
from scoresample.training.galaxies import RADIUS_OF_BOX, draw_ring_error, simulate_galaxy
from scoresample.training.profile_fits import BOX_OF_PROFILES, subtract_profile

BOXES = (9, 12, 16, 24, 32, 48, 64, 96, 128)
NUM_NODES, NUM_ANGLES, NUM_ORDERS, NUM_MODES = 41, 64, 15, 10
CORNER = 1 / np.sqrt(2)


def radial_nodes() -> Float[np.ndarray, " node"]:
    """Return the radii of the tables in units of the box: 0 to the corner, seven times denser in the middle.

    The first step is 0.7 pixel in a box of 128, the last 6.5 pixels.
    """
    return CORNER * np.sinh(np.linspace(0, 3, NUM_NODES)) / np.sinh(3)


def to_polar(
    image: Float[np.ndarray, "y x"], radius: Float[np.ndarray, " node"]
) -> Float[np.ndarray, "node angle"]:
    """Return the image on circles about its middle, by cubic splines; radius in pixels, image square."""
    theta = 2 * np.pi * np.arange(NUM_ANGLES) / NUM_ANGLES
    middle = (len(image) - 1) / 2
    places = middle + np.stack([radius[:, None] * np.sin(theta), radius[:, None] * np.cos(theta)])
    return map_coordinates(image, places, order=3, mode="nearest")


def draw_circles(
    stream: np.random.SeedSequence,
    box: int,
    softening: float,
    about_profiles: bool,
    ring_boxes: bool = False,
    companions: float = 0.0,
) -> Float[np.ndarray, "node angle"]:
    """Return u of a simulated galaxy on circles about the middle of a box; see `measure_box` for what it is."""
    rng = np.random.default_rng(stream)
    radius = radial_nodes() * box
    size_box = box / BOX_OF_PROFILES if about_profiles else box
    if ring_boxes:
        size_box *= draw_ring_error(rng)
    side = int(np.ceil(2 * CORNER * box)) + 4
    light = simulate_galaxy(rng, side, size_box=size_box, companions=companions)
    u = np.log1p(np.maximum(light, 0) / softening) / COORDINATE_SCALE
    circles = to_polar(u, radius)
    if about_profiles:
        circles = subtract_profile(circles, radius, RADIUS_OF_BOX * size_box, softening)
    return circles


def measure_box(
    seed: int,
    box: int,
    num_galaxies: int,
    softening: float = 1.0,
    about_profiles: bool = False,
    ring_boxes: bool = False,
    companions: float = 0.0,
) -> tuple[Float[np.ndarray, " node"], Float[np.ndarray, " node"], Float[np.ndarray, "order node mode"]]:
    r"""Return mean, variance and covariance factors of :math:`u = \log(S / s_0 + 1) / 0.1` for one box size.

    The softening :math:`s_0` is 1 for the u of scenes. With

    .. math:: u(r,\theta) = \sum_m a_m(r) e^{im\theta}

    about the middle of the image, the covariance of order m is

    .. math:: C_m(r, r') = (2 - \delta_{m0})\,\mathrm{Re}\,E[a_m(r)\,\bar a_m(r')]

    less the product of the means for m = 0. Its factors are the leading eigenvectors in the metric of pixel area.
    Images reach beyond the box so that corners are measured at all angles; galaxies have random orientations, so that
    turning and mirroring them would add nothing. ``about_profiles``: of what is left of u when the profile that fits
    each galaxy best is taken away (`subtract_profile`), in boxes larger by `BOX_OF_PROFILES`. ``ring_boxes``: of
    galaxies in boxes that misjudge their sizes as rings around detections do (`draw_ring_error`). ``companions``: the
    share of galaxies that have one.
    """
    nodes = radial_nodes()
    total = np.zeros((NUM_ORDERS, NUM_NODES, NUM_NODES))
    mean, square = np.zeros(NUM_NODES), np.zeros(NUM_NODES)
    streams = np.random.SeedSequence([seed, box]).spawn(num_galaxies)
    repeats = np.where(np.arange(NUM_ORDERS) == 0, 1.0, 2.0)  # orders m and -m
    for stream in tqdm(streams, desc=f"box {box}"):
        circles = draw_circles(stream, box, softening, about_profiles, ring_boxes, companions)
        modes = (np.fft.rfft(circles, axis=-1) / NUM_ANGLES)[:, :NUM_ORDERS].T
        total += repeats[:, None, None] * (modes[:, :, None] * modes[:, None, :].conj()).real
        mean += np.mean(circles, axis=-1)
        square += np.mean(circles**2, axis=-1)
    mean /= num_galaxies
    covariance = total / num_galaxies
    covariance[0] -= np.outer(mean, mean)
    weight = np.sqrt(np.maximum(nodes, nodes[1] / 2) * np.gradient(nodes))
    factors = []
    for matrix in covariance:
        value, vector = np.linalg.eigh(weight[:, None] * matrix * weight)
        factors.append((vector * np.sqrt(np.maximum(value, 0)))[:, ::-1][:, :NUM_MODES] / weight[:, None])
    return mean, square / num_galaxies - mean**2, np.stack(factors)


def measure_tables(
    seed: int,
    num_galaxies: int,
    boxes: Sequence[int] = BOXES,
    softening: float = 1.0,
    about_profiles: bool = False,
    ring_boxes: bool = False,
    companions: float = 0.0,
) -> RadialTables:
    """Return tables measured on ``num_galaxies`` simulated galaxies per box size."""
    of = (num_galaxies, softening, about_profiles, ring_boxes, companions)
    found = [measure_box(seed, box, *of) for box in boxes]
    mean, variance, factors = zip(*found, strict=True)
    return RadialTables(
        np.asarray(boxes, float),
        radial_nodes(),
        *map(np.stack, (mean, variance, factors)),
        softening=softening,
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m scoresample.training.gaussian", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--galaxies", type=int, default=4000, help="per box size")
    parser.add_argument("--boxes", type=int, nargs="+", default=BOXES, help="sides to tabulate, pixels")
    parser.add_argument("--softening", type=float, default=1.0, help="s_0 of u = log(S / s_0 + 1) / 0.1")
    parser.add_argument("--about-profiles", action="store_true", help="of what smooth profiles leave")
    parser.add_argument("--ring-boxes", action="store_true", help="with sizes as in boxes laid after rings")
    parser.add_argument("--companions", type=float, default=0.0, help="share of galaxies that have one")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    options = parser.parse_args(arguments)
    tables = measure_tables(
        options.seed,
        options.galaxies,
        options.boxes,
        options.softening,
        options.about_profiles,
        options.ring_boxes,
        options.companions,
    )
    arrays = {name: np.asarray(value, np.float32) for name, value in vars(tables).items()}
    np.savez_compressed(
        options.output,
        **arrays,
        seed=options.seed,
        galaxies=options.galaxies,
        companions=options.companions,
        population="ring-boxes" if options.ring_boxes else "general",
        versions=f"galsim {galsim.__version__}, numpy {np.__version__}",
    )


if __name__ == "__main__":
    main()
