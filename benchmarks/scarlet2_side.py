"""What `against_scarlet2.py` asks of scarlet2; runs in an environment of its own, without scoresample.

    python scarlet2_side.py FOLDER serve            answers requests on standard input, one line of json each
    python scarlet2_side.py FOLDER first_map        from process start to a fit, and to that of a second scene
    python scarlet2_side.py FOLDER sample W N       its NUTS, W warm-up and N draws

FOLDER holds ``scene.npz``, the same for both sides. Calls follow scarlet2's documentation.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path

BEGUN = time.perf_counter()
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import scarlet2
from numpyro.distributions import constraints, transforms
from scarlet2.nn import ScorePrior

IMPORT = time.perf_counter() - BEGUN
SIDE = 32  # of the published network's images
NUM_NETWORKS = 6


def load(folder):
    with np.load(Path(folder) / "scene.npz") as file:
        return {name: jnp.asarray(file[name]) for name in ("images", "weights", "psfs", "centers")}


def read_point(folder, name):
    """Return amplitudes (source, band) and morphologies S."""
    with np.load(Path(folder) / f"{name}.npz") as point:
        amplitudes = jnp.asarray(point["amplitudes"])
        return amplitudes, [jnp.asarray(point[f"morphology_{k}"]) for k in range(len(amplitudes))]


def observe(scene, images=None):
    """Return the observation, and the frame of a model of it."""
    scarlet2.set_validation(False)
    images = scene["images"] if images is None else images
    channels = [str(band) for band in range(len(images))]
    psf = scarlet2.ArrayPSF(scene["psfs"])
    observation = scarlet2.Observation(images, scene["weights"], psf=psf, channels=channels)
    return observation, scarlet2.Frame.from_observations(observation)


def make_scene(frame, centers, spectra, morphologies, priors=None, spectrum_prior=None):
    """Return a scene with free spectra and morphologies: with the step sizes of its tutorial, or with priors."""
    with scarlet2.Scene(frame) as scene:
        for center, spectrum, morphology in zip(centers, spectra, morphologies, strict=True):
            scarlet2.Source(center, spectrum, morphology)
    with scarlet2.Parameters(scene):
        for index, source in enumerate(scene.sources):
            prior = None if priors is None else priors[index]
            step = partial(scarlet2.relative_step, factor=0.05)
            if spectrum_prior is None:
                how = {"constraint": constraints.positive, "stepsize": step}
            else:
                how = {"prior": spectrum_prior}
            scarlet2.Parameter(source.spectrum, name=f"spectrum_{index}", **how)
            how = (
                {"constraint": constraints.unit_interval, "stepsize": 0.1}
                if prior is None
                else {"prior": prior}
            )
            scarlet2.Parameter(source.morphology, name=f"morphology_{index}", **how)
    return scene


def initialize(frame, observation, centers):
    """Return spectra and morphologies as its tutorial finds them; compact where it finds none."""
    spectra, morphologies = [], []
    with scarlet2.Scene(frame):
        for center in centers:
            try:
                spectrum, morphology = scarlet2.init.from_gaussian_moments(observation, center)
            except ValueError:  # "Gaussian morphology not possible"
                spectrum = scarlet2.init.pixel_spectrum(observation, center, correct_psf=True)
                morphology = scarlet2.init.compact_morphology()
            spectra.append(spectrum)
            morphologies.append(morphology)
    return spectra, morphologies


def published_network(folder):
    """Return galaxygrad's network with random weights, which both sides read from one file."""
    from galaxygrad import scorenet

    path, made = Path(folder) / "network.eqx", None
    if not path.exists():
        sizes = (4, 64, 512, 512, 4, 10.0)
        made = scorenet.ScoreNet((1, SIDE, SIDE), *sizes, key=jax.random.key(0))
        eqx.tree_serialise_leaves(path, made)
    scorenet.get_model = lambda name, local_dir=None: (str(path), SIDE)  # it would download the weights
    return scorenet.get_prior("hsc32")


def log_density(folder, scene, with_networks):
    """Return (function of observation, scene and values; its arguments): the log-likelihood, with log priors."""
    observation, frame = observe(scene)
    spectra, morphologies = read_point(folder, "boxes_of_32")
    priors = [None] * len(spectra)
    if with_networks:
        network = published_network(folder)
        prior = ScorePrior(network, network.shape(), t=0.02)
        priors = [prior] * NUM_NETWORKS + [None] * (len(spectra) - NUM_NETWORKS)
    model = make_scene(frame, scene["centers"], spectra, morphologies)
    observation.match(frame)

    def density(observation, model, values):
        total = observation.log_likelihood(model.set(values)())
        for index, prior in enumerate(priors):
            if prior is not None:
                total = total + prior.log_prob(values[f"morphology_{index}"])
        return total

    return density, (observation, model, model.get())


def serve(folder):
    scene, ready = load(folder), {}
    for line in sys.stdin:
        request = json.loads(line)
        what = request["what"]
        if what not in ready:
            density, arguments = log_density(folder, scene, what == "mixer")
            ready[what] = in_a_loop(density), arguments
        function, (observation, model, values) = ready[what]
        begun, busy = time.perf_counter(), time.process_time()
        value, _ = jax.block_until_ready(function(request["calls"], observation, model, values))
        times = [time.perf_counter() - begun, time.process_time() - busy]
        ms, cpu_ms = (1e3 * t / request["calls"] for t in times)
        norm = 0.5 * float(observation.N * jnp.log(2 * jnp.pi))
        print(json.dumps({"ms": ms, "cpu_ms": cpu_ms, "value": float(value) + norm}), flush=True)


def in_a_loop(density):
    """Return a compiled function that takes values and gradients one after another, at next to the same point."""
    both = jax.value_and_grad(density, argnums=2)

    @eqx.filter_jit
    def run(calls, observation, model, values):
        def body(_, carry):
            value, gradient = both(observation, model, carry[1])
            return value, jax.tree.map(lambda v, g: v + 1e-12 * g, carry[1], gradient)

        return jax.lax.fori_loop(0, calls, body, (jnp.zeros(()), values))

    return lambda calls, *arguments: run(jnp.asarray(calls), *arguments)


def first_map(folder):
    scene = load(folder)
    times = {"import": IMPORT}
    clock = time.perf_counter()

    def lap(name):
        nonlocal clock
        times[name] = time.perf_counter() - clock
        clock = time.perf_counter()

    observation, frame = observe(scene)
    spectra, morphologies = initialize(frame, observation, scene["centers"])
    lap("initialize")
    model = make_scene(frame, scene["centers"], spectra, morphologies)
    fitted = model.fit(observation, max_iter=200, e_rel=1e-4, progress_bar=False)
    jax.block_until_ready(fitted())
    lap("fit")
    times["process"], times["CPU"] = time.perf_counter() - BEGUN, time.process_time()
    rng = np.random.default_rng(0)
    noise = rng.normal(size=scene["images"].shape) / np.sqrt(np.maximum(np.asarray(scene["weights"]), 1e-12))
    clock = time.perf_counter()
    again, frame = observe(scene, scene["images"] + jnp.asarray(noise * (scene["weights"] > 0), jnp.float32))
    model = make_scene(
        frame, scene["centers"], spectra, morphologies
    )  # shapes stay, so that nothing need compile
    jax.block_until_ready(model.fit(again, max_iter=200, e_rel=1e-4, progress_bar=False)())
    lap("second fit")
    times["chi2"] = float(observation.goodness_of_fit(fitted()))
    print(json.dumps(times), flush=True)


def sample(folder, num_warmup, num_draws):
    """Sample by its NUTS with the prior that both sides share: a Gaussian in u, fluxes flat in amplitude."""
    scene, (amplitudes, morphologies), begun = (
        load(folder),
        read_point(folder, "own_boxes"),
        time.perf_counter(),
    )
    observation, frame = observe(scene)
    prior_of = {}
    with np.load(Path(folder) / "prior.npz") as file:
        for side in {len(morphology) for morphology in morphologies}:
            mean, root = jnp.asarray(file[f"mean_{side}"]), jnp.asarray(file[f"root_{side}"])
            prior_of[side] = dist.TransformedDistribution(
                dist.MultivariateNormal(mean, scale_tril=root),
                [
                    transforms.ReshapeTransform((side, side), (side * side,)),
                    transforms.AffineTransform(0.0, 0.1),
                    transforms.ExpTransform(),
                    transforms.AffineTransform(-1.0, 1.0, domain=constraints.positive),
                ],
            )
    flat = dist.ImproperUniform(constraints.real, (), amplitudes.shape[1:])
    priors = [prior_of[len(morphology)] for morphology in morphologies]
    model = make_scene(frame, scene["centers"], amplitudes, morphologies, priors, flat)
    mcmc = model.sample(observation, num_warmup=num_warmup, num_samples=1, progress_bar=False, seed=1)
    warm = time.perf_counter() - begun
    values = scarlet2.infer._dict_to_eqx_module("ParamModel", model.get())
    fluxes, steps, seconds = [], [], []
    for _ in range(2):  # in halves: the first compiles
        begun = time.perf_counter()
        mcmc.post_warmup_state, mcmc.num_samples = mcmc.last_state, num_draws // 2
        mcmc.run(mcmc.post_warmup_state.rng_key, values, extra_fields=("num_steps",))
        drawn = jax.block_until_ready(mcmc.get_samples())
        seconds.append(time.perf_counter() - begun)
        totals = [drawn[f"morphology_{k}"].sum(axis=(1, 2))[:, None] for k in range(len(priors))]
        fluxes.append(np.stack([drawn[f"spectrum_{k}"] * total for k, total in enumerate(totals)], axis=1))
        steps.append(np.asarray(mcmc.get_extra_fields()["num_steps"]))
    np.save(Path(folder) / "scarlet2_fluxes.npy", np.concatenate(fluxes)[None])
    found = {"warm-up": warm, "draws": 2 * min(seconds), "gradients": int(np.sum(steps))}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    folder, what, *sizes = sys.argv[1:]
    if what == "serve":
        serve(folder)
    elif what == "first_map":
        first_map(folder)
    else:
        sample(folder, *map(int, sizes))
