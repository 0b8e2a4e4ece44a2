"""Galaxy simulation and the making of the shipped priors."""
