"""How far models of blended sources are from their truth: flux, morphology and spectrum."""

import numpy as np
from jaxtyping import Float


def flux_error(
    flux: Float[np.ndarray, "object band"], truth: Float[np.ndarray, "object band"]
) -> Float[np.ndarray, " object"]:
    r"""Return the relative error of each total flux, :math:`(f - f_{true}) / f_{true}`, f summed over bands.

    References
    ----------
    Sampson et al. (2024), Astronomy and Computing 49, 100875, eq. 14.
    """
    total = truth.sum(axis=1)
    return (flux.sum(axis=1) - total) / total


def correlation(found: Float[np.ndarray, "object *s"], truth: Float[np.ndarray, "object *s"]) -> np.ndarray:
    r"""Return the cosine of the angle between what was found of each object and its truth.

    .. math:: \xi = \frac{\nu_{true} \cdot \nu}{\sqrt{\nu_{true} \cdot \nu_{true}\; \nu \cdot \nu}}

    For the morphology, of images summed over bands, for the spectrum, of fluxes summed over pixels; 0 for an object of
    which nothing was found.

    References
    ----------
    Sampson et al. (2024), eq. 15.
    """
    a, b = (array.reshape(len(array), -1).astype(float) for array in (found, truth))
    product = np.sqrt(np.sum(a**2, axis=1) * np.sum(b**2, axis=1))
    return np.divide(np.sum(a * b, axis=1), product, where=product > 0, out=np.zeros(len(a)))
