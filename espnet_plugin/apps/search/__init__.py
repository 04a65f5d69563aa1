"""An index of images and recordings, and queries to it by voice, text or image."""
