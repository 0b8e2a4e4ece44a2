"""What XLA's options cost and save: the shipped scene, its chains' function compiled and run with each.

    python benchmarks/compiling.py

Prints seconds in the compiler and milliseconds of a step, side by side.
"""

import importlib.resources
import time

import equinox as eqx
import jax
import jax.numpy as jnp

import scoresample as ss
from scoresample.numerics.compiling import OPTIONS
from scoresample.samplers import chunks
from scoresample.samplers.adaptation import WindowAdaptation
from scoresample.samplers.whitening import local_whitening

CHOICES = {
    "XLA's own": {},
    "level 2": {"xla_backend_optimization_level": 2},
    "no fusion emitters": {"xla_cpu_use_fusion_emitters": False},
    "both, as here": OPTIONS,
    "level 0": OPTIONS | {"xla_backend_optimization_level": 0},
}


def main() -> None:
    path = importlib.resources.files("scoresample") / "resources" / "demo_scene.npz"
    observation, catalog = ss.read_observation(str(path)), ss.read_catalog(str(path))
    posterior = ss.Posterior(ss.initialize_scene(observation, catalog), observation)
    whitening = local_whitening(posterior, posterior.initial_position())
    kernel, adaptation, density = ss.HMC(), WindowAdaptation(0.8, False), posterior.for_compilation()
    states = chunks.start_chains(kernel, density, whitening, jnp.zeros((4, whitening.size)))
    adapting = adaptation.init(whitening.size, 0.2, jnp.float32)
    flags = jnp.zeros(chunks.CHUNK, bool)
    print("| options | compile [s] | one step of four chains [ms] |\n|---|---|---|")
    for name, options in CHOICES.items():
        advance = eqx.filter_jit(chunks._advance.__wrapped__, compiler_options=options)

        def steps(number, advance=advance):
            begun = time.perf_counter()
            out = advance(
                kernel, adaptation, density, whitening, jax.random.key(1), states, adapting,
                jnp.asarray(0), jnp.asarray(number), jnp.asarray(False), flags, flags,
            )  # fmt: skip
            jax.block_until_ready(eqx.filter(out, eqx.is_array))
            return time.perf_counter() - begun

        first, run = steps(0), min(steps(5) for _ in range(3))
        print(f"| {name} | {first:.1f} | {1e3 * run / 5:.0f} |", flush=True)


if __name__ == "__main__":
    main()
