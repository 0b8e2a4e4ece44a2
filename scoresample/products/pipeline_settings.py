"""What a run over scenes can be told. Light to import: the command line shows these defaults in its help."""

from dataclasses import dataclass

from scoresample.errors import ConfigError

SAMPLERS = ("nuts", "hmc", "mala", "laplace", "ula", "underdamped", "annealed")
IMAGES = ("thin", "all", "none")
PRIOR_NOISE = ("hidden", "shown")
STARTS = ("map", "dispersed")


@dataclass(frozen=True)
class RunSettings:
    """Settings of a run; the same settings and file give the same draws.

    Parameters
    ----------
    sampler
        ``nuts``, ``hmc``, ``mala`` or ``laplace``; ``ula`` and ``underdamped``, which are unadjusted; ``annealed``.
    chains, warmup, draws
        Sizes, each chain's for the last two.
    max_draws
        Where the verdict on the draws is not passed, chains go on, half as many draws again at a time, up to this.
    starts
        Where chains begin: around the ``map``, or ``dispersed``, where climbs from draws of the prior end
        (`dispersed_starts`).
    max_seconds
        For reading, MAP and draws of one scene; None for any time. A scene whose time is over has what was drawn.
    seed
        Of everything random. Every scene mixes its own name into it.
    max_steps
        Of the climb to the MAP.
    background
        Whether every band has a free constant background.
    bad_planes
        Mask planes, by name or bit number, that take pixels out; empty for BAD, SAT, EDGE and NO_DATA.
    psf_bands
        Bands that the PSFs of the file belong to, in their order; empty for the order of the images.
    stars
        Whether sources that the catalog calls stars are points; if not, they are galaxies like all others.
    prior
        Of galaxy images: a name that `load_prior` knows, or the file of weights of your own. ``log-gaussian`` is
        quicker than ``profile``, and its errors are too small where faint galaxies have neighbours; the learned
        ``galaxies`` does not converge on bright blends, and is wrong there with its noise shown (docs/priors.md).
    least_flux
        Where fluxes end, in units of the error that each would have alone, for example -2: where neighbours overlap
        closely, large fluxes of opposite sign may fit as well as the right ones. None for any flux.
    noise_level
        Of the prior; None for its usual one.
    prior_noise
        ``hidden``: scenes show galaxies without the noise of a learned prior. ``shown``: with it, which is several
        times cheaper, and wrong for bright galaxies (`LearnedPrior`).
    images
        Which draws of the images ``draws.nc`` keeps: ``thin`` (every tenth), ``all`` or ``none``.
    num_flux_draws
        Joint draws in ``flux_draws.fits``.

    Raises
    ------
    ConfigError
        If a value is out of range.
    """

    sampler: str = "hmc"
    chains: int = 4
    warmup: int = 150
    draws: int = 400
    max_draws: int = 4000
    starts: str = "map"
    max_seconds: float | None = None
    seed: int = 7
    max_steps: int = 1000
    background: bool = True
    bad_planes: tuple[str | int, ...] = ()
    psf_bands: tuple[str, ...] = ()
    stars: bool = True
    prior: str = "profile"
    least_flux: float | None = None
    noise_level: float | None = None
    prior_noise: str = "hidden"
    images: str = "thin"
    num_flux_draws: int = 100

    def __post_init__(self):
        for name, allowed in (
            ("sampler", SAMPLERS), ("images", IMAGES), ("prior_noise", PRIOR_NOISE), ("starts", STARTS),
        ):  # fmt: skip
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(allowed)}."
                )
        for name, least in (
            ("chains", 1), ("warmup", 0), ("draws", 1), ("max_draws", 0), ("seed", 0), ("max_steps", 1),
            ("num_flux_draws", 1),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ConfigError(f"max_seconds is {self.max_seconds:g}; it must be above 0.")
        if self.least_flux is not None and not self.least_flux <= 0:
            raise ConfigError(f"least_flux is {self.least_flux:g}; it must be 0 or below, for example -2.")
        if self.seed >= 2**32:
            raise ConfigError(f"seed is {self.seed}; it must be below 2**32, where seeds begin to repeat.")
