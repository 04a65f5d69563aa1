"""Digits: recordings of people who say digits, beside images of handwritten ones."""
