"""Proper priors on fluxes and background, for what has to be drawn: simulations from the model itself."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from scoresample.density.likelihood import fit_fluxes
from scoresample.density.posterior import Posterior

SCATTER = 0.3
"""Standard deviation of a flux, as a part of the flux of its object."""

_ERRORS = 3.0  # and of faint fluxes, in units of their error
_BACKGROUND = 0.3  # of the background, in units of the noise of a pixel


def with_proper_fluxes(posterior: Posterior, *, scatter: float = SCATTER) -> Posterior:
    r"""Return a posterior with normal priors on fluxes and background, around those of its own data.

    .. math:: A_{kb} \sim N\big(f_k F_b,\; s^2 (f_k F_b)^2 + (3 \sigma_{kb})^2\big)

    with F the flux of the object of source k in a fit with the scene's first morphologies, f the share of the component
    in the first spectra, :math:`\sigma` the error of the flux if all others were known, and s the ``scatter``. The
    background is normal around the scene's, with 0.3 of the noise of a pixel. Everything else stays as it is. Fluxes of
    simulations are then like those of the scene, and no longer flat: a flat prior cannot be drawn from.
    """
    scene, likelihood = posterior.scene, posterior.likelihood
    fitted = fit_fluxes(likelihood, scene.parameters)
    mean, error = (np.asarray(part, np.float64).T for part in (fitted.mean, fitted.unit))
    membership, first = np.asarray(scene.membership), np.abs(np.asarray(scene.flux, np.float64)).sum(axis=1)
    flux, num_sources = np.zeros_like(mean[: len(membership)]), len(membership)
    for index in range(len(scene.objects)):
        members = np.flatnonzero(membership == index)
        total = max(first[members].sum(), 1e-30)
        share = first[members] / total if len(members) > 1 else np.ones(1)
        flux[members] = share[:, None] * mean[members].sum(axis=0)
    spread = np.hypot(scatter * flux, _ERRORS * error[:num_sources])
    background = None
    if likelihood.background:
        weight = np.asarray(likelihood.root_weight, np.float64)
        noise = [1 / np.median(w[w > 0]) if (w > 0).any() else 1.0 for w in weight]
        background = dist.Normal(scene.background, jnp.asarray(_BACKGROUND * np.array(noise)))
    return Posterior(
        scene,
        posterior.observation,
        flux=dist.Normal(jnp.asarray(flux), jnp.asarray(spread)),
        background=background,
        priors={p.name: p.prior for p in posterior.parameters if p.name in scene.parameters}
        | dict.fromkeys(posterior.fixed),
    )
