"""Keeping an unfinished run on disk, so that a later one goes on where it ended."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from scoresample.errors import ConfigError, FileFormatError
from scoresample.numerics.tree_files import load_note


def fingerprint(*trees: Any) -> str:
    """Return a hash of all arrays and settings that decide what a run computes, the same in every process.

    The leaves are sorted: numpyro flattens a distribution in the order of a set of strings, another in every process.
    """
    return hashlib.sha256(b"".join(sorted(map(_hash, jax.tree.leaves(trees))))).hexdigest()


def _hash(leaf: Any) -> bytes:
    if not eqx.is_array(leaf):
        return hashlib.sha256(repr(leaf).encode()).digest()
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return hashlib.sha256(np.ascontiguousarray(leaf).tobytes()).digest()


def read_note(path: Path, wanted: str) -> dict[str, Any]:
    """Return the note of a checkpoint of the run with the given fingerprint.

    Raises
    ------
    ConfigError
        If it belongs to another run.
    FileFormatError
        If it cannot be read.
    """
    try:
        note = load_note(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FileFormatError(
            f"checkpoint {path.name} cannot be read ({error}); delete it to start anew."
        ) from None
    if note["fingerprint"] != wanted:
        raise ConfigError(
            f"checkpoint {path.name} belongs to a run with other data, settings or seed; "
            "delete it, or repeat the settings it was made with."
        )
    return note
