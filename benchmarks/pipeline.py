"""Where the time of a run goes: import, compile, MAP, gradients, draws, memory.

    python benchmarks/pipeline.py                    the shipped scene
    python benchmarks/pipeline.py SCENE.npz          any scene file
    python benchmarks/pipeline.py --prior gaussian   another prior than the default
    python benchmarks/pipeline.py --scaling          gradients against the number of sources and of pixels

Prints a table in Markdown.
"""

import argparse
import importlib.metadata
import os
import platform
import resource
import time

begun = time.perf_counter()
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import scoresample as ss
from scoresample.diagnostics.convergence import convergence_table
from scoresample.samplers.whitening import local_whitening

_ = ss.sample, ss.find_map
IMPORT = time.perf_counter() - begun


def seconds(function, repeat=3):
    """Return the first time of a call, compile included, and the best of some more."""
    times = []
    for _ in range(1 + repeat):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return times[0], min(times[1:])


def gradient_milliseconds(posterior, num_chains=4, num_steps=20):
    """Return compile seconds and ms of a value-and-gradient for all chains, inside a compiled loop."""
    density = posterior.for_compilation()
    whitening = local_whitening(posterior, posterior.initial_position(), bent=True)
    z = jnp.zeros((num_chains, whitening.size))

    @eqx.filter_jit
    def run(density, whitening, z):
        both = jax.value_and_grad(lambda point: density.log_prob(whitening.position(point)))
        return jax.lax.fori_loop(0, num_steps, lambda _, z: z + 1e-6 * jax.vmap(both)(z)[1], z)

    first, best = seconds(lambda: run(density, whitening, z))
    return first - best, 1e3 * best / num_steps


def show(rows):
    print("| what | value |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")


def pipeline(path, prior, num_warmup, num_draws):
    observation, catalog = (
        ss.load_demo() if path is None else (ss.read_observation(path), ss.read_catalog(path))
    )
    image = ss.load_prior(prior)
    posterior = ss.Posterior(ss.initialize_scene(observation, catalog, prior=image), observation, image=image)
    size = sum(np.size(v) for v in posterior.initial_position().values())
    compiling, gradient = gradient_milliseconds(posterior)
    start = time.perf_counter()
    ss.find_map(posterior, progress=False)
    first_map = time.perf_counter() - start
    start = time.perf_counter()
    best = ss.find_map(posterior, progress=False)
    second_map = time.perf_counter() - start
    elapsed = []
    for num in (25, num_draws):  # the first compiles
        start = time.perf_counter()
        draws = ss.sample(
            jax.random.key(1), posterior, ss.HMC(), start=best.position,
            num_warmup=num_warmup, num_draws=num, progress=False,
        )  # fmt: skip
        elapsed.append(time.perf_counter() - start)
    table = convergence_table(draws)
    fluxes = table[table["kind"] == "flux"]
    ess = fluxes["ess_bulk"].min()
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib", "blackjax", "numpy")
    )
    show([
        ("machine", f"{platform.machine()}, {os.cpu_count()} cores, {jax.default_backend()}, Python "
                    f"{platform.python_version()}, {versions}"),
        ("scene", f"{observation.images.shape}, {len(catalog)} sources, {size} free parameters"),
        ("import", f"{IMPORT:.1f} s"),
        ("value-and-gradient, 4 chains", f"{gradient:.1f} ms"),
        ("its compilation", f"{compiling:.1f} s"),
        ("MAP", f"{best.status}, {len(best.history.log_prob)} steps, {first_map:.1f} s; again {second_map:.1f} s"),
        (f"sampling, 4 x ({num_warmup} + 25), compilation included", f"{elapsed[0]:.1f} s"),
        (f"sampling, 4 x ({num_warmup} + {num_draws}), compiled before", f"{elapsed[1]:.1f} s"),
        ("draws per second, warm-up included", f"{4 * num_draws / elapsed[1]:.1f}"),
        ("gradients per draw", f"{np.mean(np.asarray(draws.stats['num_steps'])):.1f}"),
        ("smallest bulk ESS of a flux", f"{ess:.0f}, {ess / elapsed[1]:.1f} per second, warm-up included"),
        ("largest R-hat of a flux", f"{fluxes['r_hat'].max():.4f}"),
        ("peak memory", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB"),
    ])  # fmt: skip


def scaling(prior):
    rng = np.random.default_rng(0)
    print("| sources | pixels | ms per value-and-gradient, 1 chain |\n|---|---|---|")
    for num_sources, side in ((2, 64), (4, 64), (8, 64), (16, 64), (32, 64), (4, 96), (4, 128), (4, 192)):
        psf = np.exp(-0.5 * ((np.indices((25, 25)) - 12) ** 2).sum(axis=0) / 1.6**2)
        images = rng.normal(size=(3, side, side)).astype(np.float32)
        observation = ss.make_observation(
            images, np.ones_like(images), np.stack([psf / psf.sum()] * 3), ["g", "r", "i"], flux_unit="nJy"
        )
        centers = rng.uniform(12, side - 12, (num_sources, 2))
        scene = ss.initialize_scene(observation, ss.make_catalog(centers), box_sizes=(25,))
        posterior = ss.Posterior(scene, observation, image=ss.load_prior(prior))
        print(f"| {num_sources} | {side}^2 | {gradient_milliseconds(posterior, 1)[1]:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scene", nargs="?")
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--prior", default="galaxies")
    parser.add_argument("--warmup", type=int, default=200)
    parser.add_argument("--draws", type=int, default=1000)
    options = parser.parse_args()
    if options.scaling:
        scaling(options.prior)
    else:
        pipeline(options.scene, options.prior, options.warmup, options.draws)
