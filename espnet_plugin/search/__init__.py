"""An index of pictures, and queries to it by voice, text or picture."""
