"""ESPnet's task and its options.

An option, such as ``keyword_extractor_conf: {frames_per_keyword: 20}``, is parsed by
``speechclip_options``, and ``model.factory`` passes it to the class that ``keyword_extractor``
names. The experiment's ``config.yaml`` keeps it, and a stored model is built from that by the same
factory. So a new option needs a keyword argument and a line in the class's docstring alone.
"""
