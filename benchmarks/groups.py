"""What a score costs where chains advance together in one compiled loop, on one core, and until it is compiled.

python -m benchmarks.groups SCENE --prior profile        the numbers of docs/design.md, a minute
"""

import argparse
import time

import jax
import jax.numpy as jnp

import scoresample as ss
from scoresample.numerics.compiling import quick_jit
from scoresample.samplers.whitening import Whitening, add_curvature, local_whitening

NUM_SCORES = 20


@quick_jit
def scores(density: ss.Posterior, whitening: Whitening, z):
    """Take some scores of all chains, one after the other, in a loop as samplers have it."""
    score = jax.vmap(jax.grad(lambda one: density.log_prob(whitening.position(one))))
    return jax.lax.fori_loop(0, NUM_SCORES, lambda _, z: 0.999 * z + 1e-4 * score(z), z)


def seconds_of(density: ss.Posterior, whitening: Whitening, num_chains: int) -> tuple[float, float]:
    """Return the shortest of five times, for one score of all chains, and how long the first call took."""
    z = 0.1 * jax.random.normal(jax.random.key(1), (num_chains, whitening.size))
    begun = time.perf_counter()
    scores(density, whitening, z).block_until_ready()
    first, times = time.perf_counter() - begun, []
    for _ in range(5):
        begun = time.perf_counter()
        scores(density, whitening, z).block_until_ready()
        times.append(time.perf_counter() - begun)
    return min(times) / NUM_SCORES, first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scene")
    parser.add_argument("--prior", default=ss.RunSettings().prior)
    args = parser.parse_args()
    prior = ss.load_prior(args.prior)
    observation = ss.read_observation(args.scene)
    catalog = ss.read_catalog(args.scene, frame=observation.frame)
    posterior = ss.Posterior(ss.initialize_scene(observation, catalog, prior=prior), observation, image=prior)
    best = ss.find_map(posterior, max_steps=40, progress=False)
    whitening = local_whitening(posterior, best.position, bent=True)
    density = posterior.for_compilation()
    points = jnp.zeros((4, whitening.size), whitening.rest.diagonal.dtype)
    whitening, _ = add_curvature(jax.random.key(0), density, whitening, points, num_points=jnp.asarray(1))
    for num_chains in (1, 2, 4):
        spent, first = seconds_of(density, whitening, num_chains)
        each = 1e3 * spent / num_chains
        print(
            f"{num_chains} chains: {1e3 * spent:.2f} ms, {each:.2f} for each; ready in {first:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
