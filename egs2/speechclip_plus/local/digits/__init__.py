"""Digits: recordings of people who say digits, beside pictures of handwritten ones."""
