"""Trees of arrays as files, so that long work can go on after an interruption."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from scoresample.numerics.files import replacing


def save_checkpoint(path: Path, tree: Any, note: dict[str, Any]) -> None:
    """Write a tree of arrays and a note, under a temporary name first."""
    leaves = {f"leaf_{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(tree))}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, note=np.frombuffer(json.dumps(note).encode(), np.uint8), **leaves)


def load_note(path: Path) -> dict[str, Any]:
    """Return the note of a checkpoint."""
    with (
        open(path, "rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):  # np.load leaves a broken file open
        return json.loads(archive["note"].tobytes())


def load_tree(path: Path, like: Any) -> Any:
    """Return the tree of a checkpoint, in the structure of ``like``."""
    structure = jax.tree.structure(like)
    with np.load(path) as archive:
        return jax.tree.unflatten(structure, [archive[f"leaf_{i}"] for i in range(structure.num_leaves)])
