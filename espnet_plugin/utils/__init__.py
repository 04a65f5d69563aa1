"""Helpers without any knowledge of speech or images."""
