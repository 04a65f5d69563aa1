"""The demo page, to try a model in the browser."""
