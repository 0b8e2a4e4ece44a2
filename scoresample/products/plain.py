"""Values as json knows them, and as people read them."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return a value made of dicts, lists, numbers, strings and None.

    NaN and infinities become None, arrays lists, and what json has no word for its text.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, bool | int | str | None):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if hasattr(value, "tolist"):  # arrays and numbers of numpy and jax
        return plain(np.asarray(value).tolist())
    return str(value)


def plus_minus(mean: float | None, sd: float | None) -> str:
    """Return a value with its error to two significant digits; "-" where there is none."""
    if mean is None or sd is None or not np.isfinite([mean, sd]).all():
        return "-"
    digits = 1 - int(np.floor(np.log10(sd))) if sd > 0 else 2
    if digits > 6:
        return f"{mean:.5g} +- {sd:.2g}"
    return f"{mean:.{max(digits, 0)}f} +- {sd:.{max(digits, 0)}f}"
