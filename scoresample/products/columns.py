"""The columns of a flux catalog: their names, units, descriptions and UCDs."""

import re
from collections.abc import Sequence

import astropy.units as u
import numpy as np
from astropy.table import Column, QTable

from scoresample.data.units import NJY_ZEROPOINT

SPECTRUM = {"u": "U", "g": "B", "r": "R", "i": "I", "z": "I", "y": "I", "j": "J", "h": "H", "k": "K"}
"""Part of the electromagnetic spectrum, as UCDs divide it, for the usual band names."""

PLAIN = {
    "objectId": ("meta.id;meta.main", "Name of the object in the input catalog"),
    "sceneId": ("meta.id", "Name of the scene"),
    "y": ("pos.cartesian.y", "Center, posterior mean, counted from 0 at the first pixel"),
    "x": ("pos.cartesian.x", "Center, posterior mean, counted from 0 at the first pixel"),
    "ra": ("pos.eq.ra;meta.main", "Right ascension, ICRS"),
    "dec": ("pos.eq.dec;meta.main", "Declination, ICRS"),
    "flux_Cov": ("stat.covariance", "Posterior covariance between bands, in the order of the header's bands"),
    "blendedness": ("stat.value", "1 - S_k.S_k / S.S_k of the posterior mean images"),
    "peakOffset": (
        "pos.angDistance",
        "Distance of the brightest pixel of the posterior mean image from the center",
    ),
    "confidence": (
        "stat.value",
        "Gamma: what data know of pixels, minus what the prior knows, times light",
    ),
    "confidenceErr": ("stat.error", "Standard error of the confidence: from the scatter between draws"),
    "lightFromData": (
        "stat.value",
        "Part of what is known of the object's pixels that is known from data, a mean over its light: 0 to 1",
    ),
    "rhatMax": ("stat.value", "Largest split R-hat of the object's fluxes"),
    "essMin": ("stat.value", "Smallest effective sample size, bulk or tail, of the object's fluxes"),
    "nDraws": ("meta.number", "Posterior draws behind this row"),
    "status": ("meta.code.status", "How the run ended"),
    "flag_notConverged": ("meta.code.qual", "The run or a flux of the object did not converge"),
    "flag_fluxSplit": (
        "meta.code.qual",
        "Chains disagree on how flux is split between this object and another",
    ),
    "flag_offCenter": (
        "meta.code.qual",
        "The light peaks further from the center than half the width of the PSF: a companion, or another object's",
    ),
    "flag_negative": (
        "meta.code.qual",
        "A flux is below zero by more than 3 of the errors that it would have alone: it cancels a neighbour's",
    ),
    "flag_noData": ("meta.code.qual", "No data in at least one band, whose fluxes are NaN"),
    "flag_edge": ("meta.code.qual", "The box of the object reaches over the edge of the frame"),
    "flag_noPosition": ("meta.code.qual", "No right ascension and declination: the scene has no WCS"),
    "flag_noConfidence": ("meta.code.qual", "The confidence was not computed"),
}
"""UCD and description of the columns that are there once."""

PER_BAND = {
    "flux": ("{flux}", "Total flux inside the frame, posterior mean"),
    "fluxErr": ("stat.error;{flux}", "Posterior standard deviation"),
    "flux_p025": ("{flux};stat.percentile", "2.5 % quantile of the posterior"),
    "flux_p16": ("{flux};stat.percentile", "16 % quantile of the posterior"),
    "flux_p50": ("{flux};stat.median", "Median of the posterior"),
    "flux_p84": ("{flux};stat.percentile", "84 % quantile of the posterior"),
    "flux_p975": ("{flux};stat.percentile", "97.5 % quantile of the posterior"),
    "varFromNeighbours": ("stat.value", "Share of the flux variance that comes from the other objects"),
    "flux_draws": ("{flux}", "Posterior draws"),
}
"""UCD and description of the columns that are there for every band."""


def flux_unit(name: str) -> u.UnitBase:
    """Return the unit of fluxes for a frame's ``flux_unit``; dimensionless for an empty one."""
    return u.Unit(name) if name else u.dimensionless_unscaled


def flux_ucd(band: str, unit: u.UnitBase) -> str:
    """Return the UCD of a flux in a band, with the part of the spectrum where the name tells."""
    word = next((w for w in reversed(re.findall("[A-Za-z]+", band)) if w.lower() in SPECTRUM), None)
    kind = "phot.flux.density" if unit.is_equivalent(u.Jy) else "phot.flux"
    if word is None:
        return kind
    part = SPECTRUM[word.lower()]
    return f"{kind};em.{'IR' if part in 'JHK' else 'opt'}.{part}"


def new_catalog(
    columns: dict[str, np.ndarray],
    per_band: dict[str, np.ndarray],
    bands: Sequence[str],
    unit: u.UnitBase,
    meta: dict,
) -> QTable:
    """Return a table of given columns in the order, units and types of a flux catalog.

    Parameters
    ----------
    columns
        Values of columns of `PLAIN`.
    per_band
        Values of columns of `PER_BAND`, (object, band, ...).
    bands
        Band names.
    unit
        Of all fluxes.
    meta
        What the header says besides bands, unit and zeropoint.
    """
    units = {"y": u.pix, "x": u.pix, "peakOffset": u.pix, "ra": u.deg, "dec": u.deg, "flux_Cov": unit**2}
    table = QTable()
    names = list(PLAIN)
    before = [n for n in names[: names.index("flux_Cov")] if n in columns]
    after = [n for n in names[names.index("flux_Cov") :] if n in columns]
    for name in before:
        _add(table, name, columns[name], units.get(name), *PLAIN[name])
    for b, band in enumerate(bands):
        for name, values in per_band.items():
            ucd, description = PER_BAND[name]
            of_flux = "{flux}" in ucd
            values = np.asarray(values[:, b], np.float32)
            ucd = ucd.format(flux=flux_ucd(band, unit))
            _add(
                table, f"{band}_{name}", values, unit if of_flux else None, ucd, f"{description}, band {band}"
            )
    for name in after:
        _add(table, name, columns[name], units.get(name), *PLAIN[name])
    table.meta.update({"bands": list(bands), "flux_unit": unit.to_string()})
    if unit == u.nJy:
        table.meta["AB_zeropoint"] = NJY_ZEROPOINT
    table.meta.update(meta)
    return table


def _add(table: QTable, name: str, values, unit: u.UnitBase | None, ucd: str, description: str) -> None:
    values = np.asarray(values)
    table[name] = Column(values) if unit is None else u.Quantity(values, unit, dtype=values.dtype)
    table[name].info.description = description
    table[name].info.meta = {"ucd": ucd}
