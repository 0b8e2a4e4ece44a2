"""Optimizers and samplers that see only a density and a position."""
