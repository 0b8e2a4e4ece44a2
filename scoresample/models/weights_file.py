"""Weights of networks as files: arrays by name, what they correct, and a card that says what they are."""

import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from scoresample.errors import FileFormatError, one_line
from scoresample.models.energy_network import KINDS, EnergyNetwork
from scoresample.models.radial_tables import ARRAYS, RadialTables
from scoresample.numerics.files import replacing

FORMAT = "scoresample energy network 2"
_TABLES = "tables."


class Weights(NamedTuple):
    """A network, the mean and covariance of galaxies that it corrects, and its card."""

    network: EnergyNetwork
    tables: RadialTables
    card: dict[str, Any]


def write_network(
    path: str | Path, network: EnergyNetwork, tables: RadialTables, card: dict[str, Any]
) -> None:
    """Write a network, its tables and its card as ``.npz``, under a temporary name first.

    The card says what the weights are: data, recipe, seed, versions, figures. Kind and widths are added to it.
    """
    card = card | {"format": FORMAT, "kind": network.kind, "widths": list(network.widths)}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        note = np.frombuffer(json.dumps(card).encode(), np.uint8)
        np.savez_compressed(file, card=note, **_named(network), **_named_tables(tables))


def read_network(path: str | Path) -> Weights:
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
    for name in (*needed, *(_TABLES + name for name in ARRAYS)):
        if name not in arrays:
            raise FileFormatError(f"{path.name} lacks {name}; make it with 'scoresample train'.")
        if not np.isfinite(arrays[name]).all():
            raise FileFormatError(f"{path.name}: {name} has numbers that are not finite.")
    leaves = [jax.numpy.asarray(arrays[name]) for name in needed]
    tables = RadialTables(**{name: arrays[_TABLES + name].astype(float) for name in ARRAYS})
    return Weights(jax.tree.unflatten(jax.tree.structure(empty), leaves), tables, card)


def _named(network) -> dict[str, Any]:
    """Return the arrays of a network by their place in it."""
    leaves, _ = jax.tree.flatten_with_path(network)
    return {jax.tree_util.keystr(path).strip("."): leaf for path, leaf in leaves}


def _named_tables(tables: RadialTables) -> dict[str, Any]:
    return {_TABLES + name: np.asarray(value, np.float32) for name, value in vars(tables).items()}
