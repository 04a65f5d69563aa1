"""Afri-MCQA: spoken questions about images in sixteen languages (Tonja et al. 2026, 2601.05699)."""
