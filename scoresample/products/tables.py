"""Flux catalogs as files: FITS, ECSV, Parquet and VOTable."""

import io
import json
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from astropy.io import votable
from astropy.io.votable.exceptions import VOTableSpecError
from astropy.io.votable.tree import Info
from astropy.table import Column, MaskedColumn, QTable
from astropy.utils.exceptions import AstropyWarning
from astropy.utils.masked import Masked

from scoresample.errors import ConfigError, FileFormatError
from scoresample.numerics.files import replacing
from scoresample.products.plain import plain

FORMATS = {
    ".fits": "fits",
    ".ecsv": "ascii.ecsv",
    ".parquet": "parquet",
    ".xml": "votable",
    ".vot": "votable",
}
FITS_KEYS = {"SCENEID": "sceneId", "BANDS": "bands", "STATUS": "status"}
"""What a person looks for in a FITS header; the whole of it is in META, as json."""


def write_catalog(table: QTable, path: str | Path) -> None:
    """Write a flux catalog, or flux draws, in the format of the suffix.

    Parameters
    ----------
    table
        From `flux_catalog` or `flux_draws`.
    path
        ``.fits``, ``.ecsv``, ``.parquet`` (needs pyarrow), ``.xml`` or ``.vot``. Replaced when it exists.

    Raises
    ------
    FileFormatError
        Another suffix.
    ConfigError
        Parquet without pyarrow.
    """
    kind = _format(path)
    with replacing(path) as temporary:
        if kind == "votable":
            _write_votable(table, temporary)
        elif kind == "fits":
            _with_fits_header(table).write(temporary, format="fits")
        else:
            table.write(temporary, format=kind)


def read_flux_catalog(path: str | Path) -> QTable:
    """Read a table that `write_catalog` wrote: the same units, header and shapes in every format.

    Raises
    ------
    FileFormatError
        If the file is missing, incomplete, or of another suffix.
    ConfigError
        Parquet without pyarrow.
    """
    kind = _format(path)
    if not Path(path).is_file():
        raise FileFormatError(f"{path}: no such file; give a catalog written by write_catalog.")
    try:
        if kind == "fits":
            table = _read_fits(path)
        elif kind == "votable":
            table = _read_votable(path)
        else:
            table = QTable.read(path, format=kind)
    except (OSError, ValueError, KeyError, IndexError, TypeError, VOTableSpecError) as error:
        message = " ".join(str(error).split())
        raise FileFormatError(f"{path}: not a complete flux catalog ({message}); write it again.") from None
    return _with_square_covariance(_without_masks(table))


def _format(path: str | Path) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise FileFormatError(
            f"{path}: unknown suffix {suffix!r} for a catalog; use one of {', '.join(FORMATS)}."
        )
    if suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ConfigError(f"{path}: Parquet needs the package pyarrow; install it, or write .fits.")
    return FORMATS[suffix]


def _with_fits_header(table: QTable) -> QTable:
    """Return a copy that fits into FITS, which knows no lists, eight letters and ASCII."""
    copy = table.copy(copy_data=False)
    copy.convert_unicode_to_bytestring()  # as UTF-8
    short = {}
    for key, name in FITS_KEYS.items():
        value = table.meta.get(name, "")
        text = ",".join(value) if isinstance(value, list) else str(value)
        short[key] = text.encode("ascii", "replace").decode()
    copy.meta = {**short, "META": json.dumps(plain(table.meta))}
    return copy


def _read_fits(path: str | Path) -> QTable:
    # From memory, since astropy leaves files open that it cannot read.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # of damage, which then fails below
        table = QTable.read(io.BytesIO(Path(path).read_bytes()), format="fits", mask_invalid=False)
    table.convert_bytestring_to_unicode()
    table.meta = json.loads(table.meta["META"])
    return table


def _write_votable(table: QTable, path: Path) -> None:
    """Write a VOTable with the header, which astropy leaves out, as INFO."""
    tree = votable.from_table(table)
    tree.resources[0].infos.append(Info(name="meta", value=json.dumps(plain(table.meta))))
    tree.to_xml(str(path), tabledata_format="binary2")  # as text it would round


def _read_votable(path: str | Path) -> QTable:
    tree = votable.parse(str(path))
    table = QTable(tree.get_first_table().to_table(use_names_over_ids=True))
    info = next(info for info in tree.resources[0].infos if info.name == "meta")
    table.meta = json.loads(info.value)
    return table


def _without_masks(table: QTable) -> QTable:
    """Return a table of plain native columns: what is missing is NaN with a flag, never masked."""
    plain_table = QTable(meta=table.meta)
    for name in table.colnames:
        column, info = table[name], table[name].info
        if isinstance(column, MaskedColumn):
            column = Column(np.asarray(column.data.data))
        elif isinstance(column, Masked):
            column = column.unmasked
        plain_table[name] = column.astype(column.dtype.newbyteorder("="), copy=False)  # FITS is big-endian
        plain_table[name].info.description = " ".join((info.description or "").split())  # VOTable wraps lines
        ours = {key: value for key, value in (info.meta or {}).items() if not key.startswith("_")}
        plain_table[name].info.meta = ours
    return plain_table


def _with_square_covariance(table: QTable) -> QTable:
    """Give the covariance back the shape (object, band, band), which Parquet flattens."""
    if "flux_Cov" in table.colnames and table["flux_Cov"].ndim == 2:
        flat, num_bands = table["flux_Cov"], len(table.meta["bands"])
        table.replace_column("flux_Cov", flat.reshape(-1, num_bands, num_bands))
        table["flux_Cov"].info.description = flat.info.description
        table["flux_Cov"].info.meta = flat.info.meta
    return table
