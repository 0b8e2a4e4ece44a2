"""Weights of networks as files: arrays by name, and a card that says what they are."""

import json
import zipfile
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from scoresample.errors import FileFormatError, one_line
from scoresample.models.energy_network import KINDS, EnergyNetwork
from scoresample.numerics.files import replacing

FORMAT = "scoresample energy network 1"


def write_network(path: str | Path, network: EnergyNetwork, card: dict[str, Any]) -> None:
    """Write a network and its card as ``.npz``, under a temporary name first.

    The card says what the weights are: data, recipe, seed, versions, figures. Kind and widths are added to it.
    """
    card = card | {"format": FORMAT, "kind": network.kind, "widths": list(network.widths)}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, card=np.frombuffer(json.dumps(card).encode(), np.uint8), **_named(network))


def read_network(path: str | Path) -> tuple[EnergyNetwork, dict[str, Any]]:
    """Read what `write_network` wrote.

    Raises
    ------
    FileFormatError
        If the file is none of these, is truncated, holds another architecture, or numbers that are not finite.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        card = json.loads(arrays.pop("card").tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FileFormatError(
            f"{path.name} cannot be read as weights of a prior ({one_line(error)[:80]}); make them with "
            "'scoresample train'."
        ) from None
    if not isinstance(card, dict) or card.get("format") != FORMAT or card.get("kind") not in KINDS:
        came = card.get("format") if isinstance(card, dict) else type(card).__name__
        raise FileFormatError(
            f"{path.name} holds {came!r}, but {FORMAT!r} is needed; make it with 'scoresample train'."
        )
    empty = eqx.filter_eval_shape(EnergyNetwork, jax.random.key(0), card["kind"], tuple(card["widths"]))
    needed = _named(empty)
    for name, like in needed.items():
        came = arrays[name].shape if name in arrays else "no such array"
        if came != like.shape:
            raise FileFormatError(
                f"{path.name}: {name} has {came}, but widths {card['widths']} need {like.shape}; the weights are of "
                "another architecture."
            )
        if not np.isfinite(arrays[name]).all():
            raise FileFormatError(f"{path.name}: {name} has numbers that are not finite.")
    leaves = [jax.numpy.asarray(arrays[name]) for name in needed]
    return jax.tree.unflatten(jax.tree.structure(empty), leaves), card


def _named(network) -> dict[str, Any]:
    """Return the arrays of a network by their place in it."""
    leaves, _ = jax.tree.flatten_with_path(network)
    return {jax.tree_util.keystr(path).strip("."): leaf for path, leaf in leaves}
