"""Functions over arrays and files: ``scores/`` are numbers, ``report/`` is the pages about a model,
``figures/`` its figures, ``sweep/`` compares many models.

Nothing here needs the model, and only the legacy hit rate's tokenizer needs PyTorch: it all starts
from the files that ``espnet_plugin.bin.speechclip_inference`` writes (see ``inference_set.py``).
"""
