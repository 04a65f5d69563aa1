"""Configurations of s3prl's tasks and their vocabularies, as data files."""
