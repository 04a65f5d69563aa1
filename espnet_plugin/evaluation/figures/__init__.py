"""Figures, one module each: matplotlib figures, which ``save`` writes, and the timeline in HTML."""
