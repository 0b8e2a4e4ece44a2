"""Scenes, sources, morphologies, PSFs, rendering and priors."""
