"""How far simulated galaxies are from the smooth profiles that fit them best, and what the prior `profile` says of it.

python -m benchmarks.profile_scatter            the table of docs/priors.md, two minutes
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from scoresample.models.profile_shape import AMPLITUDE_AT, NUM_SHAPE, amplitude_of
from scoresample.numerics.arrays import to_jax
from scoresample.training.galaxies import RADIUS_OF_BOX, simulate_galaxy
from scoresample.training.gaussian import CORNER, radial_nodes, to_polar
from scoresample.training.profile_fits import BOX_OF_PROFILES, subtract_profile

SOFTENING = 0.01
SHARES = np.array([0.05, 0.16, 0.5, 0.84, 0.95, 0.99])
SCALE = 10.0
"""Of w, whose derivative by the logarithm of light it is."""


def scatter_of(seed: np.random.SeedSequence, box: int) -> float:
    """Return the root mean square over the box of ln S less that of a galaxy's best profile, softened."""
    nodes, size_box = radial_nodes(), box / BOX_OF_PROFILES
    side = int(np.ceil(2 * CORNER * box)) + 4
    light = simulate_galaxy(np.random.default_rng(seed), side, size_box=size_box)
    w = SCALE * np.log1p(np.maximum(light, 0) / SOFTENING)
    left = subtract_profile(to_polar(w, nodes * box), nodes * box, RADIUS_OF_BOX * size_box, SOFTENING)
    area = np.maximum(nodes, nodes[1] / 2) * np.gradient(nodes) * (nodes <= 0.5)
    return float(np.sqrt(np.sum(area * np.mean(left**2, axis=1)) / np.sum(area))) / SCALE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--galaxies", type=int, default=400)
    parser.add_argument("--boxes", type=int, nargs="+", default=[24, 48])
    args = parser.parse_args()
    names = [f"{100 * share:.0f} %" for share in SHARES]
    rows = {}
    for box in args.boxes:
        streams = np.random.SeedSequence([5, box]).spawn(args.galaxies)
        found = np.array([scatter_of(stream, box) for stream in streams])
        whole = np.sqrt(np.mean(found**2))
        rows[f"box of {box}, {whole:.3f}"] = np.quantile(found / whole, SHARES)
    z = np.zeros((100_000, NUM_SHAPE))
    z[:, AMPLITUDE_AT] = np.random.default_rng(0).normal(size=len(z))
    rows["prior"] = np.quantile(jax.vmap(amplitude_of)(to_jax(z, jnp.float32)), SHARES)
    print(pd.DataFrame.from_dict(rows, orient="index", columns=names).round(2).to_string())


if __name__ == "__main__":
    main()
