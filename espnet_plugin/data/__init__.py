"""Kaldi-style data directories, their recordings and images, tables and stored arrays; no model."""
