"""Compare many trainings of several systems."""
