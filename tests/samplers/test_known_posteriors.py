"""Fixed shapes and flat priors: the fluxes have an exact Gaussian posterior, which every sampler must find."""

import numpy as np
import pytest
import scipy.linalg

from scoresample.density.posterior import Posterior
from scoresample.samplers.hmc import HMC, MALA, NUTS
from scoresample.samplers.laplace import Laplace
from scoresample.samplers.run import sample


@pytest.fixture(params=["stars", "fixed images"])
def scene(request, make_scene):
    return make_scene(galaxies=request.param == "fixed images", background=request.param == "stars")


def fisher_matrices(posterior):
    """Columns of unit flux, data and Fisher matrix in each band, in double precision; the noise is 1."""
    columns = np.asarray(posterior.likelihood.columns(posterior.fixed), float)
    data = np.asarray(posterior.likelihood.data, float)
    return columns, data, np.einsum("kbp,lbp->bkl", columns, columns)


def exact(posterior):
    """Mean and covariance of (band, column) fluxes and background, raveled."""
    columns, data, fisher = fisher_matrices(posterior)
    mean = np.stack([np.linalg.solve(f, columns[:, b] @ data[b]) for b, f in enumerate(fisher)])
    return mean.ravel(), scipy.linalg.block_diag(*np.linalg.inv(fisher))


def drawn(posterior, draws):
    """Drawn (band, column) values from derived fluxes, which are totals inside the frame."""
    columns, _, _ = fisher_matrices(posterior)
    num_sources = draws.derived["flux"].shape[2]
    values = draws.derived["flux"] / columns[:num_sources].sum(axis=2)
    rows = np.swapaxes(values, 2, 3)
    if "background" in draws.derived:
        rows = np.concatenate([rows, draws.derived["background"][..., None]], axis=3)
    return rows.reshape(*rows.shape[:2], -1)


def run(key, posterior, sampler, num_draws=800):
    return sample(key, posterior, sampler, num_chains=4, num_warmup=300, num_draws=num_draws, progress=False)


@pytest.mark.parametrize("sampler", [NUTS(), HMC(), MALA(), Laplace()], ids=lambda s: s.name)
def test_sampled_fluxes_have_the_exact_mean_and_full_covariance(make_scene, key, largest_z, sampler):
    posterior = Posterior(*make_scene(), center=None, collapse=False)
    draws = run(key, posterior, sampler, 3000 if isinstance(sampler, MALA) else 800)
    mean, covariance = exact(posterior)
    found = drawn(posterior, draws)
    assert draws.status == "done"
    assert largest_z(found, mean, covariance) < 5
    alone = np.diag(1 / np.concatenate([np.diag(f) for f in fisher_matrices(posterior)[2]]))
    assert largest_z(found, mean, alone) > 10  # errors that ignore the neighbours would be seen


def test_fluxes_integrated_out_have_the_exact_mean_and_full_covariance(scene, key, largest_z):
    posterior = Posterior(*scene, center=None, image=None)
    draws = run(key, posterior, NUTS())
    mean, covariance = exact(posterior)
    found = drawn(posterior, draws)
    assert draws.position == {}
    assert largest_z(found, mean, covariance) < 5
    alone = np.diag(1 / np.concatenate([np.diag(f) for f in fisher_matrices(posterior)[2]]))
    assert largest_z(found, mean, alone) > 10


def test_fluxes_of_fixed_images_are_sampled_right(make_scene, key, largest_z):
    posterior = Posterior(*make_scene(galaxies=True, background=False), image=None, collapse=False)
    draws = run(key, posterior, HMC())
    assert largest_z(drawn(posterior, draws), *exact(posterior)) < 5
