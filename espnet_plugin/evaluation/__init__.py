"""Functions over arrays and files: ``scores/`` are numbers, ``report/`` is the pages about a model,
``figures/`` its figures, ``sweep/`` compares many models.

Nothing here needs the model, and only the keywords' scores need PyTorch, which CLIP's tokenizer
loads: it all starts from the files that ``espnet_plugin.bin.speechclip_inference`` writes (see
``inference_set.py``).
"""
