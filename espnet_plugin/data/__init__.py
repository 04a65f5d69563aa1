"""Kaldi-style data directories and the recordings and pictures that they name."""
