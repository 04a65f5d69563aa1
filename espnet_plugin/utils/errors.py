"""Errors that a command shows as one line."""

from __future__ import annotations


class DataError(ValueError):
    """Something is wrong with the user's data; the message says where, what, and what to do."""
