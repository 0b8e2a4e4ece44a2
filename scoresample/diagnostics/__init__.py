"""Convergence, verdicts and hallucination scores."""
