"""Conversion of released checkpoints into the form that this package loads."""
