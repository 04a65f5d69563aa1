"""A corpus of your own: recordings, images and one table. Captions are not needed."""
