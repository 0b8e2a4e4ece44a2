"""Whether a fit looks like the data: residuals of draws, replicated data, and p-values."""

from typing import Any, NamedTuple

import arviz_base
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Array, Float, PRNGKeyArray

from scoresample.density.posterior import Position, Posterior
from scoresample.diagnostics.convergence import chain_shape
from scoresample.diagnostics.discrepancies import (
    autocorrelation,
    chi_square,
    largest,
    neighbour_correlation,
)
from scoresample.errors import ConfigError
from scoresample.numerics.spread import spread_indices
from scoresample.samplers.base import Draws

LEVEL = 0.01
"""How often, at most, a model that is right is called into doubt."""

NUM_DRAWS, REACH = 100, 6

_BATCH = 8


class PredictiveCheck(NamedTuple):
    """What `predictive_check` found; printing it shows the table and what is in doubt.

    Attributes
    ----------
    table
        A row for each band: pixels; ``chi2``, per pixel; ``largest``, the largest residual;
        ``correlation`` of pixels that share an edge; each a mean over draws, with its p-value. Those of chi2 and
        correlation are two-sided.
    residual
        Data minus posterior mean model, in units of the noise; NaN without data.
    chi2
        Of every pixel, mean over draws; 1 is expected.
    autocorrelation
        Of ``residual`` for distances up to 6 pixels in y and x.
    model, replicated
        Of each draw: the images without noise, and data as they could have been, 0 where there are none.
    data
        The images, and
    inverse_variance
        their weights.
    bands
        Names.
    reasons
        A sentence for each p-value below 0.01 over their number.
    """

    table: pd.DataFrame
    residual: Float[np.ndarray, "band y x"]
    chi2: Float[np.ndarray, "band y x"]
    autocorrelation: Float[np.ndarray, "band lag_y lag_x"]
    model: Float[np.ndarray, "draw band y x"]
    replicated: Float[np.ndarray, "draw band y x"]
    data: Float[np.ndarray, "band y x"]
    inverse_variance: Float[np.ndarray, "band y x"]
    bands: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the data look like the model's own."""
        return not self.reasons

    @property
    def verdict(self) -> str:
        """The verdict in words, one line for each reason."""
        words = "the data look like the model's own" if self.passed else "the model does NOT explain the data"
        return "\n".join([f"Fit: {words}", *(f"  - {reason}" for reason in self.reasons)])

    def to_dict(self) -> dict[str, Any]:
        """Return verdict, reasons and table for json."""
        rows = self.table.reset_index().to_dict("records")
        return {"passed": self.passed, "reasons": list(self.reasons), "draws": len(self.model), "bands": rows}

    def to_arviz(self) -> xr.DataTree:
        """Return groups ``posterior_predictive``, ``observed_data`` and ``constant_data`` for arviz.

        Draws count as one chain; images have dimensions band, y, x.
        """
        axes = ["band", "y", "x"]
        return arviz_base.from_dict(
            {
                "posterior_predictive": {"images": self.replicated[None]},
                "observed_data": {"images": self.data},
                "constant_data": {"inverse_variance": self.inverse_variance},
            },
            coords={"band": list(self.bands)},
            dims={"images": axes, "inverse_variance": axes},
        )

    def __repr__(self) -> str:
        shown = self.table.to_string(float_format=lambda value: f"{value:.3g}", na_rep="-")
        return f"{shown}\n{self.verdict}"


def predictive_check(key: PRNGKeyArray, draws: Draws, num_draws: int = NUM_DRAWS) -> PredictiveCheck:
    r"""Compare the data of a scene with data replicated from its posterior.

    For a draw :math:`\theta` data could have been :math:`Y' = M(\theta) + \epsilon`, with noise as the weights say. The
    p-value of a discrepancy T is how often those are further from the model than the data are,

    .. math:: p = P\big(T(Y', \theta) \ge T(Y, \theta) \mid Y\big)

    averaged over draws. Given the draw, residuals of replicated data are standard normal, so that the distribution of
    each T is known, and p-values far below one over the number of draws can be told. T is the chi-square per pixel,
    the largest residual, and the correlation of neighbours, in every band.

    Models that follow some of the noise have p-values nearer to 1/2 than uniform ones: a small one is to be taken
    seriously, a large one is no proof.

    Parameters
    ----------
    key
        Of fluxes, drawn anew from their exact posterior given the draw, and of the noise.
    draws
        Of a scene.
    num_draws
        Used, evenly spread over all.

    Raises
    ------
    ConfigError
        If there are no draws, or they are of no scene.

    References
    ----------
    Gelman, Meng & Stern (1996), Statistica Sinica 6, 733, eq. 7.
    """
    posterior = draws.density
    if not isinstance(posterior, Posterior):
        raise ConfigError("predictive checks are of a scene, but these draws are of another density.")
    size = int(np.prod(chain_shape(draws)))
    if size == 0 or num_draws < 1:
        raise ConfigError(
            f"predictive checks need draws, and there are {min(size, num_draws)}; sample again."
        )
    key_flux, key_noise = jax.random.split(key)
    model = _model_images(key_flux, draws, posterior, spread_indices(size, num_draws))
    data, weight = (
        np.asarray(a, np.float64)
        for a in (posterior.observation.images, posterior.observation.inverse_variance)
    )
    seen, root = weight > 0, np.sqrt(weight)
    noise = np.divide(1, root, where=seen, out=np.zeros_like(root))
    replicated = np.where(seen, model + noise * np.asarray(jax.random.normal(key_noise, model.shape)), 0)
    residuals = (data - model) * root
    residual = np.where(seen, (data - model.mean(axis=0)) * root, np.nan)
    bands = posterior.observation.frame.bands
    table = _table(residuals, seen, bands)
    return PredictiveCheck(
        table=table,
        residual=residual,
        chi2=np.where(seen, np.mean(residuals**2, axis=0), np.nan),
        autocorrelation=np.stack([autocorrelation(r, s, REACH) for r, s in zip(residual, seen, strict=True)]),
        model=model.astype(np.float32),
        replicated=replicated.astype(np.float32),
        data=data,
        inverse_variance=weight,
        bands=tuple(bands),
        reasons=_reasons(table),
    )


def _table(residuals: Float[np.ndarray, "draw band y x"], seen, bands) -> pd.DataFrame:
    rows = {}
    for b, band in enumerate(bands):
        flat = residuals[:, b][:, seen[b]]
        chi2, most = chi_square(flat), largest(flat)
        near = neighbour_correlation(residuals[:, b], seen[b])
        rows[band] = {
            "pixels": int(seen[b].sum()),
            "chi2": chi2.mean,
            "chi2_p": chi2.p_two_sided,
            "largest": most.mean,
            "largest_p": most.p_value,
            "correlation": near.mean,
            "correlation_p": near.p_two_sided,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("band")


def _reasons(table: pd.DataFrame) -> tuple[str, ...]:
    """Return what is in doubt, in words, of the clearest first."""
    found = []
    for band, row in table.iterrows():
        noise = (
            "larger than the noise" if row["chi2"] > 1 else "smaller than the noise, which may be overstated"
        )
        found += [
            (row["chi2_p"], f"{band}: residuals are {noise}: chi-square per pixel {row['chi2']:.3f}"),
            (row["largest_p"], f"{band}: a pixel is off by {row['largest']:.1f} sigma"),
            (
                row["correlation_p"],
                f"{band}: residuals of neighbours are correlated: {row['correlation']:.3f}",
            ),
        ]
    limit = LEVEL / max(len(found), 1)
    wrong = sorted((p_value, text) for p_value, text in found if p_value < limit)
    return tuple(f"{text} (p = {p_value:.1g})" for p_value, text in wrong)


def _model_images(
    key: PRNGKeyArray, draws: Draws, posterior: Posterior, indices: np.ndarray
) -> Float[np.ndarray, "draw band y x"]:
    at = np.unravel_index(indices, chain_shape(draws))
    positions = {name: jnp.asarray(leaf[at]) for name, leaf in draws.position.items()}
    images = _render(posterior.for_compilation(), jax.random.split(key, len(indices)), positions)
    return np.asarray(images, np.float64).reshape(len(indices), *posterior.observation.images.shape)


@eqx.filter_jit
def _render(posterior: Posterior, keys, positions: Position) -> Float[Array, "draw band pixel"]:
    def render(at):
        key, position = at
        columns = posterior.columns(posterior.values(position))
        return jnp.einsum("bk,kbp->bp", posterior.draw_amplitudes(key, columns, position), columns)

    return jax.lax.map(render, (keys, positions), batch_size=_BATCH)
