"""The HTML page of an experiment: one file that holds its figures, recordings and pictures."""
