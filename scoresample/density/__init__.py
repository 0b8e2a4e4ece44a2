"""From a scene and an observation to a log density of a position."""
