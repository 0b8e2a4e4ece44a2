"""Networks for a prior, side by side: the same galaxies, the same number of steps.

    scoresample simulate -o galaxies.npz
    python benchmarks/networks.py galaxies.npz -o networks/ --steps 3000
    python benchmarks/networks.py --gaussian -o networks/ --steps 3000      against closed form

Trains each network and prints tables in Markdown: the noise that denoising leaves of galaxies it has not seen, by box
and noise level; how the density changes for galaxies 0.7 and 1.4 times brighter (-6.4 and -5.7, alike for all, were it
right); milliseconds of one score, with the value where there is one; and Kolmogorov-Smirnov distances of draws from
galaxies. What was measured is kept in OUT as json, and not measured again.
"""

import argparse
import json
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import scoresample as ss
from scoresample.models.energy_network import EnergyNetwork
from scoresample.models.galaxy_box import galaxy_box
from scoresample.models.galaxygrad import PATCH, Mixer, _Block, _Norm, _Perceptron
from scoresample.models.gaussian_prior import load_gaussian_prior
from scoresample.models.learned_prior import DEFAULT_NOISE_LEVEL, TRAINED_LEVELS
from scoresample.models.morphology import to_morphology
from scoresample.models.radial_tables import RadialTables
from scoresample.models.reverse_diffusion import draw_from_noise, noise_levels_down
from scoresample.training.batches import held_out
from scoresample.training.dataset import TrainingSet, as_steps, read_training_set
from scoresample.training.denoising import relative_error
from scoresample.training.image_statistics import distances, image_statistics
from scoresample.training.trainer import TrainSettings, train

LEVELS = (0.05, 0.14, 0.5, 2.0, 5.0)
DRAWN_AT = TRAINED_LEVELS[0]
SIDE = 32
TABLES = load_gaussian_prior().tables
NETWORKS: dict[str, dict] = {
    "residual": {},
    "dot": {"kind": "dot"},
    "residual, denoising only": {"level_weight": 0.0},
    "square": {"kind": "square"},
    "scalar": {"kind": "scalar"},
    "score": {"kind": "score"},
    "residual, wide": {"widths": (24, 48, 64)},
    "score, 32 pixels only": {"kind": "score"},
    "mixer, 32 pixels only": {"kind": "score"},
}


class PreconditionedMixer(eqx.Module):
    """The paper's Mixer with the preconditioning of the others; for boxes of one size, and without a density."""

    mixer: Mixer

    def __init__(self, key, side=SIDE, hidden=64, mixing=512, num_blocks=4):
        keys = iter(jax.random.split(key, 100))
        weights = lambda out, *into: jax.random.normal(next(keys), (out, *into)) / np.sqrt(np.prod(into))
        patches = (side // PATCH) ** 2

        def perceptron(size):
            return _Perceptron(
                weights(mixing, size), jnp.zeros(mixing), weights(size, mixing), jnp.zeros(size)
            )

        norm = lambda *shape: _Norm(jnp.ones(shape), jnp.zeros(shape))
        blocks = [
            _Block(perceptron(patches), perceptron(hidden), norm(hidden, patches), norm(patches, hidden))
            for _ in range(num_blocks)
        ]
        self.mixer = Mixer(
            weights(hidden, 2, PATCH, PATCH), jnp.zeros((hidden, 1, 1)),
            weights(hidden, PATCH, PATCH)[None] / np.sqrt(hidden), jnp.zeros((1, 1, 1)),
            tuple(blocks), norm(hidden, patches), 1.0,
        )  # fmt: skip

    def denoise(self, u, box, noise_level, as_product=True):
        image = self.mixer(jnp.arcsinh((u - box.mean) / noise_level), jnp.log(noise_level) / 4)
        return (box.denoise(u, noise_level) + jnp.sqrt(box.error(noise_level)) * image) * box.mask


def milliseconds(network, has_energy: bool, batch: int, in_loop: bool) -> float:
    """Return the time of one score for each image of a batch, with the value where there is one."""
    box, level = galaxy_box(TABLES, (SIDE, SIDE)), jnp.asarray(0.14)
    u = jax.random.normal(jax.random.key(0), (batch, SIDE, SIDE))

    def score(network, u):
        if has_energy:
            return jax.vmap(jax.value_and_grad(lambda x: network.energy(x, box, level)))(u)[1]
        return jax.vmap(lambda x: network.denoise(x, box, level) - x)(u)

    @eqx.filter_jit
    def run(network, u):
        if in_loop:
            return jax.lax.fori_loop(0, 20, lambda _, u: u + 1e-6 * score(network, u), u)
        return score(network, u)

    run(network, u).block_until_ready()
    best = np.inf
    for _ in range(20):
        begun = time.perf_counter()
        run(network, u).block_until_ready()
        best = min(best, time.perf_counter() - begun)
    return 1e3 * best / batch / (20 if in_loop else 1)


@eqx.filter_jit
def draw(network, keys):
    levels = noise_levels_down(TRAINED_LEVELS[1], DRAWN_AT, 40)
    box = galaxy_box(TABLES, (SIDE, SIDE))

    def one(key):
        denoise = lambda u, level: network.denoise(u, box, level)
        return draw_from_noise(denoise, jax.random.normal(key, (SIDE, SIDE)), levels)

    return jax.lax.map(one, keys, batch_size=16)


def measure(name: str, galaxies: TrainingSet, folder: Path, num_steps: int, num_draws: int) -> dict:
    settings = TrainSettings(num_steps=num_steps, **NETWORKS[name])
    network = PreconditionedMixer(jax.random.key(1)) if name.startswith("mixer") else None
    if name.endswith("only") and "pixels" in name:
        galaxies = TrainingSet({SIDE: galaxies.images[SIDE]}, galaxies.card)
    begun = time.perf_counter()
    path = folder / f"{name.replace(', ', '_')}_{num_steps}.checkpoint.npz"
    if path.exists():
        raise SystemExit(
            f"{path} is there from a training that was stopped; remove it, for times to mean something."
        )
    trained = train(galaxies, settings, path, tables=TABLES, network=network)
    found = {
        "seconds_of_training": time.perf_counter() - begun,
        "weights": sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(trained.network, eqx.is_array))),
        "noise_left": {
            side: {
                f"{at:g}": relative_error(trained.network, TABLES, held_out(galaxies, side, number), at)
                for at in LEVELS
            }
            for side, number in ((SIDE, 400), (64, 100))
            if side in galaxies.images
        },
    }
    has_energy = isinstance(trained.network, EnergyNetwork) and settings.kind != "score"
    if has_energy:
        images = held_out(galaxies, SIDE, 192)
        noise = np.random.default_rng(1).normal(size=images.shape)
        found["scale"] = {f"{k:g}": change_with_scale(trained.network, images, noise, k) for k in (0.7, 1.4)}
    found["ms"] = {
        what: milliseconds(trained.network, has_energy, *how)
        for what, how in {"single": (1, False), "in a loop": (1, True), "16 in a loop": (16, True)}.items()
    }
    if num_draws:
        draws = draw(trained.network, jax.random.split(jax.random.key(2), num_draws))
        data = held_out(galaxies, SIDE)
        data = data + DRAWN_AT * np.random.default_rng(0).normal(size=data.shape)
        one, other = (image_statistics(np.asarray(to_morphology(jnp.asarray(u)))) for u in (draws, data))
        found["distances"] = distances(one, other)
    return found


def change_with_scale(network: EnergyNetwork, images, noise, factor: float) -> dict[str, float]:
    """Return by how much minus the energy of galaxies u changes, mean and scatter, when they are k times brighter.

    Simulated galaxies have the logarithm of their peak normal with sigma 0.1, whatever else they are, so that an energy
    that knows it changes by about (ln k)^2 / 0.02, alike for all.
    """
    level = DEFAULT_NOISE_LEVEL
    box = galaxy_box(TABLES, (SIDE, SIDE))

    @eqx.filter_jit
    def energies(images):
        return jax.lax.map(lambda u: network.energy(u, box, jnp.asarray(level)), images, batch_size=32)

    light = np.expm1(images / 10)
    one, other = (
        np.asarray(energies(jnp.asarray(10 * np.log1p(k * light) + level * noise)), float)
        for k in (1.0, factor)
    )
    return {"mean": float(np.mean(one - other)), "sd": float(np.std(one - other))}


def plain_tables() -> RadialTables:
    """Return tables of images that are nothing but unit noise around 0: all that a network knows, it has learned."""
    nodes = np.linspace(0, 0.75, 8)
    return RadialTables(np.array([SIDE]), nodes, np.zeros((1, 8)), np.ones((1, 8)), np.zeros((1, 1, 8, 1)))


def gaussian(folder: Path, num_steps: int) -> None:
    """Train on draws of a Gaussian, whose best denoiser is known, and print the error of the network's."""
    tables = plain_tables()
    exact = ss.load_gaussian_prior(0.02).for_shape((SIDE, SIDE))
    draws = np.asarray(exact.sample(jax.random.key(0), (SIDE, SIDE), 22_000))
    galaxies = TrainingSet({SIDE: as_steps(draws)}, {"population": "gaussian"})
    trained = train(
        galaxies,
        TrainSettings(num_steps=num_steps),
        folder / f"gaussian_{num_steps}.npz",
        tables=tables,
        resume=True,
    )
    root = np.asarray(jax.vmap(exact.root.apply)(jnp.eye(SIDE**2)), float).T
    covariance, mean = root @ root.T, np.asarray(exact.mean, float).ravel()
    images = held_out(galaxies, SIDE, 200)
    box = galaxy_box(tables, (SIDE, SIDE))
    print(
        "| noise level | noise left: best possible | of the network | error of the score, relative |\n|---|---|---|---|"
    )
    for level in LEVELS:
        noise = np.random.default_rng(1).normal(size=images.shape)
        noisy = (images + level * noise).reshape(len(images), -1)
        best = mean + (noisy - mean) @ np.linalg.solve(covariance + level**2 * np.eye(SIDE**2), covariance)
        denoise = jax.jit(jax.vmap(lambda u, at=level: trained.network.denoise(u, box, jnp.asarray(at))))
        found = np.asarray(denoise(jnp.asarray(noisy.reshape(images.shape), jnp.float32))).reshape(best.shape)
        truth = images.reshape(best.shape)
        left = [np.mean((estimate - truth) ** 2) / level**2 for estimate in (best, found)]
        error = np.sqrt(np.mean((found - best) ** 2) / np.mean((best - noisy) ** 2))
        print(f"| {level:g} | {left[0]:.4f} | {left[1]:.4f} | {100 * error:.1f} % |")


def show(results: dict[str, dict]) -> None:
    columns = [(side, f"{at:g}") for side in (str(SIDE), "64") for at in LEVELS]
    print("| network | weights | " + " | ".join(f"{side}: {at}" for side, at in columns) + " |")
    print("|---" * (len(columns) + 2) + "|")
    for name, found in results.items():
        left = found["noise_left"]
        cells = [f"{left[side][at]:.3g}" if side in left else "" for side, at in columns]
        print(f"| {name} | {found['weights']:,} | " + " | ".join(cells) + " |")
    columns = ("network", "ms: single", "in a loop", "16 in a loop, each", "seconds of training")
    columns += ("log density at 0.7", "at 1.4", "distances of draws")
    print("\n| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|")
    for name, found in results.items():
        apart = ", ".join(f"{what} {value:.2f}" for what, value in found.get("distances", {}).items())
        times = " | ".join(f"{value:.2f}" for value in found["ms"].values())
        scale = found.get("scale", {"0.7": None, "1.4": None}).values()
        changes = " | ".join(f"{one['mean']:.1f} ± {one['sd']:.1f}" if one else "" for one in scale)
        print(f"| {name} | {times} | {found['seconds_of_training']:.0f} | {changes} | {apart} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("galaxies", nargs="?")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--gaussian", action="store_true")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--only", nargs="*", default=list(NETWORKS))
    options = parser.parse_args()
    if not options.gaussian and options.galaxies is None:
        parser.error("give a file of galaxies, as 'scoresample simulate' writes it, or --gaussian")
    options.out.mkdir(parents=True, exist_ok=True)
    if options.gaussian:
        gaussian(options.out, options.steps)
    else:
        stored = options.out / f"networks_{options.steps}.json"
        results = json.loads(stored.read_text()) if stored.exists() else {}
        training_set = read_training_set(options.galaxies)
        for name in options.only:
            if name not in results:
                results[name] = measure(name, training_set, options.out, options.steps, options.draws)
                stored.write_text(json.dumps(results, indent=1) + "\n")
                results = json.loads(stored.read_text())  # keys as json has them
        show({name: found for name, found in results.items() if name in options.only})
