"""Vocabularies, as data files."""
