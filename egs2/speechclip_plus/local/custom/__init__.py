"""A corpus of one's own: recordings, pictures and one table. Captions are not needed."""
