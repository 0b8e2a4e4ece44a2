"""Posterior flux distributions for blended astronomical scenes.

Every public name is listed here once, and is imported when it is first asked for.
"""

import importlib
from typing import Any

_MODULES = {
    "scoresample.data.catalog": ("Catalog", "make_catalog"),
    "scoresample.data.demo": ("load_demo",),
    "scoresample.data.frame": ("Frame",),
    "scoresample.data.observation": ("Observation", "make_observation"),
    "scoresample.data.readers": ("read_catalog", "read_observation"),
    "scoresample.data.writers": ("write_scene",),
    "scoresample.density.base": ("Density",),
    "scoresample.density.numpyro_model": ("NumpyroDensity",),
    "scoresample.density.posterior": ("Posterior",),
    "scoresample.diagnostics.arviz": ("to_arviz",),
    "scoresample.diagnostics.audit": ("audit",),
    "scoresample.diagnostics.data_gain": ("data_gain",),
    "scoresample.diagnostics.hallucination": ("hallucination_score",),
    "scoresample.diagnostics.modes": ("data_modes",),
    "scoresample.diagnostics.predictive": ("predictive_check",),
    "scoresample.diagnostics.verdict": ("diagnose",),
    "scoresample.errors": (
        "ConfigError",
        "DataError",
        "FileFormatError",
        "PositionError",
        "ScoreOnlyError",
        "ScoresampleError",
        "ScoresampleWarning",
        "ShapeError",
    ),
    "scoresample.models.galaxygrad": ("load_galaxygrad",),
    "scoresample.models.gaussian_prior": ("GaussianMorphologyPrior", "load_gaussian_prior"),
    "scoresample.models.initialization": ("initialize_scene",),
    "scoresample.models.load": ("load_prior",),
    "scoresample.models.morphology": ("GaussianProfile", "PixelMorphology", "PointSource", "SersicProfile"),
    "scoresample.models.priors_as_distributions": ("PriorDistribution", "ScoreDistribution"),
    "scoresample.models.priors": ("AbstractLogPrior", "AbstractPrior"),
    "scoresample.models.psf": ("GaussianPSF",),
    "scoresample.models.scene": ("Scene",),
    "scoresample.models.score_prior": ("ScorePrior",),
    "scoresample.models.source": ("Source", "make_source"),
    "scoresample.products.archive": ("load_draws", "save_draws"),
    "scoresample.products.calibration": ("calibrate",),
    "scoresample.products.catalog": ("flux_catalog", "flux_draws"),
    "scoresample.products.hallucination_plots": ("plot_hallucination",),
    "scoresample.products.pipeline": ("run_scene",),
    "scoresample.products.plots": ("plot_scene",),
    "scoresample.products.pipeline_scenes": ("run_scenes",),
    "scoresample.products.pipeline_settings": ("RunSettings",),
    "scoresample.products.prior_report": ("report_prior",),
    "scoresample.products.starts": ("dispersed_starts",),
    "scoresample.products.tables": ("read_flux_catalog", "write_catalog"),
    "scoresample.samplers.annealed": ("AnnealedLangevin",),
    "scoresample.samplers.base": ("Draws",),
    "scoresample.samplers.hmc": ("HMC", "MALA", "NUTS"),
    "scoresample.samplers.laplace": ("Laplace",),
    "scoresample.samplers.optimize": ("find_map",),
    "scoresample.samplers.run": ("sample",),
    "scoresample.samplers.unadjusted": ("ULA", "UnderdampedLangevin"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value = _version()
    elif name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        raise AttributeError(
            f"module 'scoresample' has no attribute {name!r}; dir(scoresample) lists what it has."
        )
    globals()[name] = value  # asked for once only
    return value


def _version() -> str:
    metadata = importlib.import_module("importlib.metadata")  # 20 ms, for those who ask
    try:
        return metadata.version("scoresample")
    except metadata.PackageNotFoundError:  # a checkout on the path, not installed
        return "not installed"


def __dir__() -> list[str]:
    return __all__
