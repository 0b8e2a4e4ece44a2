"""Chains that disagree on who owns the flux: of two objects that overlap, each flux differs and the sum does not."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from arviz_stats.base import array_stats
from jaxtyping import Float

from scoresample.density.posterior import Posterior
from scoresample.diagnostics.convergence import flux_row
from scoresample.models.source import Source
from scoresample.samplers.base import Draws

MAX_OF_SUM = 0.1
"""Of the variance between chains that two fluxes would give their sum if they differed independently, the sum may have
so much: where two do differ independently, by as much, four chains come below it in one case of fifty."""


class FluxSplit(NamedTuple):
    """Two objects, by name, and the bands in which chains split the flux between them differently."""

    objects: tuple[str, str]
    bands: tuple[str, ...]

    def __str__(self) -> str:
        bands = f"band{'s' * (len(self.bands) > 1)} {', '.join(self.bands)}"
        return (
            f"chains disagree on how flux is split between {self.objects[0]} and {self.objects[1]} ({bands})"
        )


def flux_splits(draws: Draws, table: pd.DataFrame, max_rhat: float = 1.01) -> tuple[FluxSplit, ...]:
    r"""Return the pairs of objects between which chains split flux differently.

    In one band two fluxes f and g, of objects whose boxes overlap, are such a pair where R-hat of each is above
    ``max_rhat``, that of f + g is not, and the means of f and g in each chain, with variances over chains V, go
    against each other:

    .. math:: V(\bar f + \bar g) < 0.1\, \big(V(\bar f) + V(\bar g)\big)

    Chains in different modes of a blend, or on a slow way along it, do that; chains that have not mixed for another
    reason do not. Flux that goes around among three objects is not told.

    Parameters
    ----------
    draws
        Of a `Posterior`; of other densities there are no pairs.
    table
        Of the draws, see `convergence_table`.
    max_rhat
        Largest rank-normalized split R-hat of chains that agree.
    """
    if not isinstance(draws.density, Posterior):
        return ()
    scene, bands = draws.density.scene, draws.density.observation.frame.bands
    boxes = {name: [s for s in scene.sources if s.object_name == name] for name in scene.objects}
    flux, found = np.asarray(draws.derived["flux"], np.float64), []
    for (j, first), (k, second) in itertools.combinations(enumerate(scene.objects), 2):
        if not _overlap(boxes[first], boxes[second]):
            continue
        in_bands = []
        for b, band in enumerate(bands):
            rows = [flux_row(name, band) for name in (first, second)]
            bad = all(row in table.index and table.loc[row, "r_hat"] > max_rhat for row in rows)
            if bad and _opposed(flux[:, :, j, b], flux[:, :, k, b], max_rhat):
                in_bands.append(band)
        if in_bands:
            found.append(FluxSplit((first, second), tuple(in_bands)))
    return tuple(found)


def _opposed(f: Float[np.ndarray, "chain draw"], g: Float[np.ndarray, "chain draw"], max_rhat: float) -> bool:
    """Return whether chains agree on the sum of two fluxes, while each flux differs from chain to chain."""
    total = f + g
    between = [np.var(values.mean(axis=1)) for values in (f, g, total)]
    if between[2] >= MAX_OF_SUM * (between[0] + between[1]):
        return False
    spread = total.std()  # arviz_stats takes a range below 1e-15, in whatever unit, for a constant
    return not spread > 0 or float(array_stats.rhat((total - total.mean()) / spread)) <= max_rhat


def _overlap(some: Sequence[Source], others: Sequence[Source]) -> bool:
    """Return whether a box of one object has pixels of a box of the other."""
    return any(
        bool(np.all(np.maximum(a.origin, b.origin) < np.minimum(a.origin + a.shape, b.origin + b.shape)))
        for a in some
        for b in others
    )
