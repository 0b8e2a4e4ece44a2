"""Draws as an arviz tree, for every tool that reads one."""

import warnings
from collections.abc import Mapping

import arviz_base
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from scoresample.density.posterior import Posterior
from scoresample.diagnostics.predictive import PredictiveCheck
from scoresample.numerics.trees import named_leaves
from scoresample.samplers.base import Draws


def to_arviz(draws: Draws, check: PredictiveCheck | None = None) -> xr.DataTree:
    """Return draws as a tree of labelled arrays.

    Parameters
    ----------
    draws
        From `sample`.
    check
        From `predictive_check` of the same draws, for replicated data beside them.

    Returns
    -------
    Groups ``posterior`` and ``sample_stats``, all (chain, draw, ...); for a scene also ``observed_data``
    (``images``) and ``constant_data`` (``inverse_variance``, ``psfs``), and with a ``check``
    ``posterior_predictive`` (``images``), whose draws count as one chain. ``flux`` has coordinates object and
    band, in the unit of ``attrs["flux_unit"]``; the image of ``galaxy_0`` has coordinates ``galaxy_0_y`` and
    ``galaxy_0_x``, pixels of the frame. Free parameters are unconstrained, images are u; the leaves of
    another position are named by their path in it.
    """
    posterior = named_leaves(draws.position)
    posterior |= {name: np.asarray(value) for name, value in draws.derived.items()}
    groups = {"posterior": posterior, "sample_stats": {k: np.asarray(v) for k, v in draws.stats.items()}}
    coords, dims, unit = {}, {}, ""
    if isinstance(draws.density, Posterior):
        observation = draws.density.observation
        unit = observation.frame.flux_unit
        posterior |= _images_in_u(draws.density, posterior)
        coords, dims = _scene_labels(draws.density, posterior)
        groups["observed_data"] = {"images": np.asarray(observation.images)}
        groups["constant_data"] = {
            "inverse_variance": np.asarray(observation.inverse_variance),
            "psfs": np.asarray(observation.psfs),
        }
    groups = {name: group for name, group in groups.items() if group}
    with warnings.catch_warnings():  # runs may have more chains than draws
        warnings.filterwarnings("ignore", message="Found chain dimension to be longer")
        tree = arviz_base.from_dict(groups, coords=coords, dims=dims)
    if check is not None:
        tree["posterior_predictive"] = check.to_arviz()["posterior_predictive"]
    tree.attrs.update(status=draws.status, flux_unit=unit)
    return tree


def _images_in_u(density: Posterior, named: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return u of the images that samplers see in another coordinate."""
    mapped = [
        p for p in density.parameters if p.prior.has_map and p.name.endswith(".image") and p.name in named
    ]
    constrain = lambda p: jax.vmap(jax.vmap(p.constrain))
    return {p.name: np.asarray(constrain(p)(jnp.asarray(named[p.name]))) for p in mapped}


def _scene_labels(
    posterior: Posterior, variables: Mapping[str, np.ndarray]
) -> tuple[dict[str, list], dict[str, list[str]]]:
    """Return coordinates, and the dimensions of each variable behind chain and draw."""
    scene, frame = posterior.scene, posterior.observation.frame
    coords = {"object": list(scene.objects), "band": list(frame.bands), "axis": ["y", "x"]}
    dims = {
        "flux": ["object", "band"],
        "background": ["band"],
        "images": ["band", "y", "x"],
        "inverse_variance": ["band", "y", "x"],
        "psfs": ["band", "psf_y", "psf_x"],
    }
    for source in scene.sources:
        for kind in {name.rpartition(".")[2] for name in variables if name.startswith(f"{source.name}.")}:
            name = f"{source.name}.{kind}"
            if kind == "center":
                dims[name] = ["axis"]
            elif kind == "flux":
                dims[name] = ["band"]
            elif variables[name].ndim == 4:
                dims[name] = [f"{source.name}_y", f"{source.name}_x"]
                for axis, origin, size in zip("yx", source.origin, variables[name].shape[2:], strict=True):
                    coords[f"{source.name}_{axis}"] = list(range(int(origin), int(origin) + size))
    return coords, dims
