"""Figures, one module each; every function returns a matplotlib figure, ``save`` writes it."""
