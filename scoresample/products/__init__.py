"""Flux catalogs, archives, plots and runs over scenes."""
