"""Components of one object: their shares are tied, the flux of the object is as free as that of a single source."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scoresample.data.observation import make_observation
from scoresample.density.flux_prior import TIE
from scoresample.density.posterior import Posterior
from scoresample.models.initialization import gaussian_morphology
from scoresample.models.load import load_prior
from scoresample.models.psf import GaussianPSF
from scoresample.models.scene import Scene
from scoresample.models.source import make_source

SHARE = np.array([0.25, 0.75])  # of the core and of the rest
WIDTHS = 1.0, 2.5
BRIGHT, FAINT = 30_000.0, 60.0


@pytest.fixture
def make_posterior(seed_shift):
    """Make the posterior of a galaxy of two components next to another, morphologies held fixed."""

    def make(faint=FAINT, *, seed=0, dark=False, first=1.0, shares=SHARE, **options):
        rng = np.random.default_rng(10 * seed + seed_shift)
        psf = np.exp(-0.5 * (np.indices((9, 9)) - 4) ** 2).prod(axis=0)
        blank = make_observation(
            rng.normal(size=(2, 25, 25)),
            np.ones((2, 25, 25)),
            [psf / psf.sum()] * 2,
            ["g", "r"],
            flux_unit="nJy",
        )
        flux = np.array([faint, BRIGHT])
        sources = [
            make_source(
                name, gaussian_morphology(15, width), (12.0, 11.0), share * flux, box=15, parent=parent
            )
            for name, width, share, parent in zip(
                ("galaxy", "galaxy_core"), WIDTHS, shares, ("", "galaxy"), strict=True
            )
        ]
        sources.append(make_source("next", gaussian_morphology(9, 1.5), (17.0, 17.0), (500.0, 700.0), box=9))
        scene = Scene(blank.frame, tuple(sources), jnp.zeros(2), GaussianPSF(0.7))
        truth = Posterior(scene, blank, center=None, image=None)
        columns = np.asarray(truth.likelihood.columns(scene.parameters), float)
        model = np.einsum("kb,kbp->bp", np.asarray(scene.flux), columns[:3]).reshape(2, 25, 25)
        observation = dataclasses.replace(blank, images=blank.images + jnp.asarray(model, blank.images.dtype))
        if dark:
            weights = observation.inverse_variance.at[0, 3:20, 2:19].set(0)
            observation = dataclasses.replace(observation, inverse_variance=weights)
        scene = scene.replace({}, first * scene.flux, jnp.zeros(2))
        return Posterior(scene, observation, center=None, **({"image": None} | options)), columns

    return make


def fluxes(posterior, columns):
    """Mean and sd of the flux of each object, (band, object)."""
    found = posterior.solve(posterior.columns(posterior.fixed))
    inside = np.array(posterior.columns(posterior.fixed), float).sum(axis=2)[:3].T
    sums = np.zeros((2, 3, 2))
    sums[:, :2, 0], sums[:, 2, 1] = inside[:, :2], inside[:, 2]
    covariance = np.asarray(found.covariance(), float)[:, :3, :3]
    mean = np.einsum("bk,bko->bo", np.asarray(found.mean, float)[:, :3], sums)
    return mean, np.sqrt(np.einsum("bko,bkl,blo->bo", sums, covariance, sums))


def without_ties(posterior):
    """The posterior with flat fluxes of all components."""
    free = posterior.flux_prior.precision - posterior.flux_prior.ties
    return eqx.tree_at(lambda p: p.flux_prior.precision, posterior, free)


@pytest.mark.parametrize("faint", [FAINT, 0.0])
def test_the_flux_of_an_object_is_not_drawn_to_a_first_guess(make_posterior, faint):
    """In a band where a bright object is faint: pulls of many noises have mean 0 and width 1."""
    pulls = []
    for seed in range(25):
        mean, error = fluxes(*make_posterior(faint, seed=seed))
        pulls.append((mean[0, 0] - faint) / error[0, 0])
    # Given the morphologies the error is that of 25 draws: 0.2 for the mean, 0.14 for the width.
    assert abs(np.mean(pulls)) < 0.8 and 0.55 < np.std(pulls) < 1.45


def test_errors_are_no_smaller_than_the_light_allows(make_posterior):
    """Tied components are known no better than one source whose share of each component is right."""
    posterior, columns = make_posterior()
    error = fluxes(posterior, columns)[1]
    one = np.einsum("k,kbp->bp", SHARE, columns[:2])
    design = np.stack([one, columns[2], columns[3]], axis=1)
    gram = np.einsum("bkp,blp->bkl", design, design)
    least = np.sqrt(np.linalg.inv(gram)[:, 0, 0]) * one.sum(axis=1)
    loose = fluxes(without_ties(posterior), columns)[1]
    assert np.all(error[:, 0] > 0.99 * least) and np.all(error[:, 0] < 1.01 * loose[:, 0])


@pytest.mark.parametrize("first", [20.0, 0.01])
def test_first_spectra_change_nothing(make_posterior, first):
    found, same = (fluxes(*make_posterior(first=f))[0] for f in (first, 1.0))
    np.testing.assert_allclose(found, same, rtol=1e-4, atol=1e-2)


def test_components_move_together_where_data_cannot_tell_them_apart(make_posterior):
    """The contrast of a tie has the width that it is said to have, and the sum none."""
    posterior, _ = make_posterior()
    ties = np.asarray(posterior.flux_prior.ties, float)[:, :2, :2]
    sums = np.array([float(source.morphology.total) for source in posterior.scene.sources[:2]])
    per_flux = ties / sums[:, None] / sums
    contrast = np.array([-1.0, 1.0])
    width = np.einsum("k,bkl,l->b", contrast, per_flux, contrast) ** -0.5
    np.testing.assert_allclose(width[1], TIE * BRIGHT, rtol=0.02)
    np.testing.assert_allclose(np.einsum("bkl,l->bk", per_flux, SHARE) * width[:, None] ** 2, 0, atol=0.03)
    assert np.all(np.asarray(posterior.flux_prior.ties)[:, 2:] == 0)
    assert "components of one object" in repr(posterior)


def test_a_band_without_data_around_an_object_of_components_is_harmless(make_posterior):
    """All amplitudes there are held, and the other band is as it was."""
    posterior, _ = make_posterior(dark=True)
    assert np.all(np.asarray(posterior.likelihood.unseen)[0, :2])
    found = posterior.solve(posterior.columns(posterior.fixed))
    assert np.all(np.isfinite(np.asarray(found.covariance()))) and np.isfinite(float(found.log_evidence))
    np.testing.assert_allclose(
        found.mean[0, :2], 0, atol=0.02
    )  # the last of the PSF reaches further than the box
    lit, _ = make_posterior()
    np.testing.assert_allclose(found.mean[1], lit.solve(lit.columns(lit.fixed)).mean[1], rtol=1e-3, atol=1e-2)


def test_sampled_components_are_tied_as_collapsed_ones_are(make_posterior):
    """With flux and morphology as parameters, the tie is the same function of the amplitudes."""
    collapsed, _ = make_posterior()
    sampled, _ = make_posterior(collapse=False)
    sums = sampled.likelihood.renderer.totals(sampled.fixed)
    found = collapsed.solve(collapsed.columns(collapsed.fixed)).mean

    def difference(amplitudes):
        position = sampled.initial_position()
        fluxes = {f"{n}.flux": amplitudes[:, k] * sums[k] for k, n in enumerate(collapsed.scene.names)}
        joint = sampled.log_prob(position | fluxes | {"background": amplitudes[:, 3]})
        likelihood = collapsed.likelihood.log_prob(collapsed.columns(collapsed.fixed), amplitudes)
        ties = collapsed.flux_prior.precision
        return joint - likelihood + 0.5 * jnp.einsum("bk,bkl,bl->", amplitudes, ties, amplitudes)

    noise = jax.random.normal(jax.random.key(0), found.shape)
    values = [float(difference(found + step * noise)) for step in (0.0, 1.0, 3.0)]
    np.testing.assert_allclose(values, values[0], rtol=1e-4, atol=0.05)


def test_a_core_is_told_its_size_by_its_box_under_a_prior_that_knows_sizes(make_posterior):
    """Two images of any size at one place could exchange roles."""
    found = make_posterior(image=load_prior("profile"))[0]
    names = {parameter.name: parameter.prior.name for parameter in found.parameters}
    assert names == {
        "galaxy.image": "profile",
        "galaxy_core.image": "log-gaussian",
        "next.image": "profile",
    }
    profile = load_prior("profile")
    asked = make_posterior(image=profile, priors={"galaxy_core.image": profile})[0]
    assert all(parameter.prior.name == "profile" for parameter in asked.parameters)
