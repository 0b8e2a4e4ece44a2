"""What `against_scarlet2.py` asks of scoresample; the same requests as those of `scarlet2_side.py`.

The first argument is a folder; then comes one of ``scene SCENE`` and ``points NAME``, which write what both sides read,
``serve``, ``first_map``, ``sample W N`` and ``effective NUMBER``.
"""

import json
import sys
import time
from pathlib import Path

BEGUN = time.perf_counter()
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import scoresample as ss

_ = ss.find_map, ss.Posterior
IMPORT = time.perf_counter() - BEGUN
SIDE = 32
NUM_NETWORKS = 6


def read(folder):
    path = Path(folder) / "scene.npz"
    return ss.read_observation(path), ss.read_catalog(path)


def plain_scene(observation, catalog, **options):
    """Return a scene of what scarlet2 has too: one image for each source, and no background."""
    return ss.initialize_scene(observation, catalog, background=False, two_components_above=np.inf, **options)


def write_scene(folder, path):
    """Write the scene, with weights of masked pixels at zero."""
    observation, catalog = ss.read_observation(path), ss.read_catalog(path)
    bands = np.asarray(observation.frame.bands)
    psfs = np.asarray(observation.psfs) / np.asarray(observation.psfs).sum(axis=(1, 2), keepdims=True)
    np.savez(
        Path(folder) / "scene.npz", images=observation.images, weights=observation.inverse_variance,
        psfs=psfs.astype(np.float32), bands=bands, centers=np.asarray(catalog.centers), flux_unit="nJy",
    )  # fmt: skip


def write_points(folder, name):
    """Write a point: rough images in boxes of one size to evaluate, or a MAP in our own to start at, with its prior."""
    folder, rng = Path(folder), np.random.default_rng(0)
    observation, catalog = read(folder)
    scene = plain_scene(observation, catalog, **({"box_sizes": (SIDE,)} if name == "boxes_of_32" else {}))
    posterior = ss.Posterior(scene, observation)
    if name == "own_boxes":
        position = ss.find_map(posterior, progress=False).position
        priors = {s.shape[0]: ss.load_prior("gaussian").for_shape(s.shape) for s in scene.sources}
        arrays = {f"mean_{n}": np.asarray(p.mean).ravel() for n, p in priors.items()}
        roots = {n: np.linalg.cholesky(p.covariance()).astype(np.float32) for n, p in priors.items()}
        np.savez(folder / "prior.npz", **arrays, **{f"root_{n}": root for n, root in roots.items()})
    else:
        position = {
            k: v + jnp.asarray(0.1 * rng.normal(size=v.shape), v.dtype)
            for k, v in posterior.initial_position().items()
        }
    amplitudes = np.asarray(posterior.brightness(position)).T
    morphologies = [np.expm1(0.1 * np.asarray(position[f"{s.name}.image"])) for s in scene.sources]
    named = {f"morphology_{k}": image for k, image in enumerate(morphologies)}
    np.savez(folder / f"{name}.npz", amplitudes=amplitudes, **named)


def point_of(folder, scene, name):
    """Return (values by full name, amplitudes (band, source)) that `write_points` wrote."""
    with np.load(Path(folder) / f"{name}.npz") as point:
        images = {
            f"{s.name}.image": jnp.asarray(np.log1p(point[f"morphology_{k}"]) / 0.1)
            for k, s in enumerate(scene.sources)
        }
        return dict(scene.parameters) | images, jnp.asarray(point["amplitudes"].T)


def densities(folder):
    """Return compiled functions and their arguments by name, each a value and gradient of one point."""
    observation, catalog = read(folder)
    # The middle of an even box is a corner of pixels: where scarlet2 puts it, the box begins on a pixel.
    shifted = ss.make_catalog(np.asarray(catalog.centers) - 0.5)
    scene = plain_scene(observation, shifted, box_sizes=(SIDE,))
    values, amplitudes = point_of(folder, scene, "boxes_of_32")
    names = [f"{source.name}.image" for source in scene.sources]
    position = {name: values[name] for name in names}

    def of_given_fluxes(density, position, amplitudes):
        return density.likelihood.log_prob_at(density.fixed | position, amplitudes, unit_flux=False)

    def of_integrated(density, position, amplitudes):
        return density.log_likelihood(position)

    def with_score(value):
        def both(density, position, amplitudes):
            score = density.score_only(position)
            found, gradient = jax.value_and_grad(value, argnums=(1, 2))(density, position, amplitudes)
            return found, jax.tree.map(jnp.add, gradient, (score, jnp.zeros_like(amplitudes)))

        return both

    def with_prior(value):
        return jax.value_and_grad(lambda d, p, a: value(d, p, a) + d.explicit_prior(p), argnums=(1, 2))

    last = dict.fromkeys(names[NUM_NETWORKS:])
    likelihoods = {"likelihood": of_given_fluxes, "integrated": of_integrated}
    kinds = {
        "": (lambda value: jax.value_and_grad(value, argnums=(1, 2)), ss.Posterior(scene, observation)),
        "mixer": (with_score, ss.Posterior(scene, observation, image=network_of(folder), priors=last)),
    }
    for prior in ("galaxies", "gaussian"):
        kinds[prior] = with_prior, ss.Posterior(scene, observation, image=ss.load_prior(prior), priors=last)
    found = {}
    for kind, (make, posterior) in kinds.items():
        mine = {name: position[name] for name in names if name not in posterior.fixed}
        for name, value in likelihoods.items():
            key = f"{name}, {kind}".removeprefix("likelihood, ") if kind else name
            found[key] = in_a_loop(make(value)), (posterior.for_compilation(), mine, amplitudes)
    return found


def network_of(folder):
    """Return the published network as a prior, from the file that the other side wrote."""
    return ss.load_galaxygrad(Path(folder) / "network.eqx")


def in_a_loop(both):
    """Return a compiled function that takes values and gradients one after another, at next to the same point."""

    @eqx.filter_jit
    def run(calls, density, *point):
        def body(_, carry):
            value, gradient = both(density, *carry[1])
            return value, jax.tree.map(lambda v, g: v + 1e-12 * g, carry[1], gradient)

        return jax.lax.fori_loop(0, calls, body, (jnp.zeros(()), point))

    return lambda calls, *arguments: run(jnp.asarray(calls), *arguments)


def serve(folder):
    ready = None
    for line in sys.stdin:
        request = json.loads(line)
        ready = densities(folder) if ready is None else ready
        function, arguments = ready[request["what"]]
        begun, busy = time.perf_counter(), time.process_time()
        value, _ = jax.block_until_ready(function(request["calls"], *arguments))
        times = [time.perf_counter() - begun, time.process_time() - busy]
        ms, cpu_ms = (1e3 * t / request["calls"] for t in times)
        print(json.dumps({"ms": ms, "cpu_ms": cpu_ms, "value": float(value)}), flush=True)


def first_map(folder):
    times, clock = {"import": IMPORT}, time.perf_counter()

    def lap(name):
        nonlocal clock
        times[name] = time.perf_counter() - clock
        clock = time.perf_counter()

    observation, catalog = read(folder)
    posterior = ss.Posterior(ss.initialize_scene(observation, catalog), observation)
    lap("initialize")
    best = ss.find_map(posterior, progress=False)
    lap("fit")
    times["process"], times["CPU"] = time.perf_counter() - BEGUN, time.process_time()
    weights = np.asarray(observation.inverse_variance)
    rng = np.random.default_rng(0)
    noise = np.where(weights > 0, rng.normal(size=weights.shape) / np.sqrt(np.maximum(weights, 1e-12)), 0)
    clock = time.perf_counter()
    again = eqx.tree_at(lambda o: o.images, observation, observation.images + jnp.asarray(noise, jnp.float32))
    # The boxes and names of the first, so that nothing need compile.
    second = ss.find_map(ss.Posterior(posterior.scene, again), progress=False)
    lap("second fit")
    residual = posterior.observation.images - posterior.source_images(best.position).sum(axis=0)
    times["chi2"] = float(jnp.sum(weights * residual**2) / np.sum(weights > 0))
    times["steps"] = [len(best.history.log_prob), len(second.history.log_prob)]
    print(json.dumps(times), flush=True)


def sample(folder, num_warmup, num_draws):
    """Sample by the default of `scoresample run`, under the prior that both sides share."""
    observation, catalog = read(folder)
    scene, begun = plain_scene(observation, catalog), time.perf_counter()
    posterior = ss.Posterior(scene, observation)
    values, _ = point_of(folder, scene, "own_boxes")
    start = {p.name: values[p.name] for p in posterior.parameters}
    looked = []  # (clock, draws so far): the first look is after the warm-up and half of the draws

    def enough(draws):
        looked.append((time.perf_counter(), draws.settings["num_kept"]))
        return False

    draws = ss.sample(
        jax.random.key(1), posterior, ss.HMC(), start=start, num_warmup=num_warmup,
        num_draws=num_draws // 2, max_draws=num_draws, enough=enough, progress=False,
    )  # fmt: skip
    end = time.perf_counter()
    ((middle, kept),) = [look for look in looked if look[1] < num_draws][:1]
    steps = np.asarray(draws.stats["num_steps"])
    np.save(Path(folder) / "scoresample_fluxes.npy", np.asarray(draws.derived["flux"]))
    seconds = (end - middle) * num_draws / (num_draws - kept)
    found = {"warm-up": end - begun - seconds, "draws": seconds, "gradients": int(steps.sum())}
    print(json.dumps(found), flush=True)


def effective(folder, number):
    """Sample as `scoresample run --prior log-gaussian` does until every flux has so many effective draws."""
    from scoresample.diagnostics.convergence import convergence_table

    observation, catalog = read(folder)
    posterior = ss.Posterior(ss.initialize_scene(observation, catalog), observation)
    best = ss.find_map(posterior, progress=False)
    at_map = time.perf_counter() - BEGUN

    def smallest(draws):
        table = convergence_table(draws)
        return float(table[table["kind"] == "flux"]["ess_bulk"].min())

    draws = ss.sample(
        jax.random.key(1), posterior, ss.HMC(), start=best.position, num_warmup=ss.RunSettings().warmup, num_draws=100,
        max_draws=3200, enough=lambda draws: smallest(draws) >= number, progress=False,
    )  # fmt: skip
    found = {
        "map": at_map, "process": time.perf_counter() - BEGUN, "CPU": time.process_time(), "ess": smallest(draws),
        "draws": draws.settings["num_kept"], "gradients": int(np.sum(np.asarray(draws.stats["num_steps"]))),
    }  # fmt: skip
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    folder, what, *rest = sys.argv[1:]
    if what == "scene":
        write_scene(folder, rest[0])
    elif what == "points":
        write_points(folder, rest[0])
    elif what in ("serve", "first_map"):
        globals()[what](folder)
    else:
        globals()[what](folder, *map(int, rest))
