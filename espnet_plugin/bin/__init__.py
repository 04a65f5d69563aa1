"""Commands: each module is a thin ``get_parser()`` and ``main(cmd=None)``."""
