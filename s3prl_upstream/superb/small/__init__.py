"""Small corpora in the layouts of SUPERB's data sets, made of the mini corpus's voices.

They show that a task trains and evaluates; their scores are no SUPERB scores.
"""
