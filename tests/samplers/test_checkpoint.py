"""What tells one run from another."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from scoresample.samplers.checkpoint import fingerprint

ROOT = Path(__file__).resolve().parents[2]
PRINT = """
import jax.numpy as jnp, numpyro.distributions as dist
from scoresample.samplers.checkpoint import fingerprint
print(fingerprint(dist.TruncatedNormal(jnp.arange(3.0), 0.3, low=-1.0), {"draws": 10}))
"""


def test_a_fingerprint_is_the_same_in_every_process():
    """With another seed of the hashes of strings, which numpyro's order of leaves depends on."""
    run = lambda seed: subprocess.run(
        [sys.executable, "-c", PRINT], cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert len({run(str(seed)).stdout for seed in range(4)}) == 1


def test_every_leaf_counts():
    key = jax.random.key(1)
    tree = {"a": jnp.arange(3.0), "b": 0.5, "key": key}
    changed = ({"a": jnp.arange(3.0) + 1e-6}, {"b": 0.6}, {"key": jax.random.key(2)})
    marks = {fingerprint(tree), *(fingerprint(tree | change) for change in changed)}
    assert len(marks) == 4
    assert fingerprint(tree) == fingerprint({"a": jnp.arange(3.0), "b": 0.5, "key": jax.random.key(1)})
