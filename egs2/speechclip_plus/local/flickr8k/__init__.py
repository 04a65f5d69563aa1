"""Flickr8k (8,092 captioned images), and the Flickr Audio Caption Corpus (captions read aloud).

Hodosh, Young, Hockenmaier 2013, JAIR 47; Harwath and Glass 2015, ASRU.
"""
