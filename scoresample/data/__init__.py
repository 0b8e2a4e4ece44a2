"""Observations and catalogs: what comes in from files."""
