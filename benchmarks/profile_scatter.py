"""How far simulated galaxies are from the smooth profiles that fit them best, and what the prior `profile` says of it.

python -m benchmarks.profile_scatter            the table of docs/priors.md, two minutes
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from scoresample.models.morphology import COORDINATE_SCALE
from scoresample.models.profile_shape import AMPLITUDE_AT, NUM_SHAPE, amplitude_of
from scoresample.numerics.arrays import to_jax
from scoresample.training.gaussian import draw_circles, radial_nodes

SOFTENING, COMPANIONS = 0.01, 0.2  # as in the tables of the prior
SHARES = np.array([0.05, 0.16, 0.5, 0.84, 0.95, 0.99])


def scatter_of(seed: np.random.SeedSequence, box: int) -> float:
    """Return the root mean square over the box of ln S less that of a galaxy's best profile, softened."""
    nodes = radial_nodes()
    left = COORDINATE_SCALE * draw_circles(seed, box, SOFTENING, about_profiles=True, companions=COMPANIONS)
    area = np.maximum(nodes, nodes[1] / 2) * np.gradient(nodes) * (nodes <= 0.5)
    return float(np.sqrt(np.sum(area * np.mean(left**2, axis=1)) / np.sum(area)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--galaxies", type=int, default=400)
    parser.add_argument("--boxes", type=int, nargs="+", default=[16, 24, 48, 96])
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
