"""Standard errors by resampling scenes: objects of one scene share its noise and its neighbours."""

from collections.abc import Callable

import numpy as np
import pandas as pd

_NUM_RESAMPLED = 300


def bootstrap_error(statistic: Callable[..., float], scene: pd.Series, *columns: pd.Series) -> float:
    """Return the standard deviation of a statistic of columns over resampled scenes; NaN for fewer than three scenes.

    Scenes are drawn with replacement, 300 times with a fixed seed, each with all its rows.

    References
    ----------
    Efron (1979), Annals of Statistics 7, 1.
    """
    labels, numbers = np.unique(scene.to_numpy(), return_inverse=True)
    if len(labels) < 3:
        return float("nan")
    rows = [np.flatnonzero(numbers == k) for k in range(len(labels))]
    values = [column.to_numpy(float) for column in columns]
    rng, found = np.random.default_rng(0), []
    for _ in range(_NUM_RESAMPLED):
        chosen = np.concatenate([rows[k] for k in rng.integers(len(labels), size=len(labels))])
        found.append(statistic(*(value[chosen] for value in values)))
    return float(np.std(found, ddof=1))
