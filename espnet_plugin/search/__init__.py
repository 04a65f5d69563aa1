"""An index of images, and queries to it by voice, text or image."""
