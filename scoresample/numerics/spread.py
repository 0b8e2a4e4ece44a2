"""Some of many, evenly spread."""

import numpy as np
from jaxtyping import Int


def spread_indices(size: int, num: int) -> Int[np.ndarray, " chosen"]:
    """Return ``num`` different indices spread evenly over 0 ... size - 1, all of them if there are fewer."""
    return np.unique(np.linspace(0, size - 1, min(num, size)).round().astype(int))
