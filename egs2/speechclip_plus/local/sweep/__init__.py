"""Many trainings of several systems, compared."""
