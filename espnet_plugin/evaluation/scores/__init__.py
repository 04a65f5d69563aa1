"""Scores of one data set, as dictionaries that become JSON."""
