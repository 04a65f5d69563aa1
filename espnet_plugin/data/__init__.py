"""Kaldi-style data directories, and their recordings and images."""
