"""Functions over arrays and files: ``scores/`` makes numbers, ``report/`` the pages about a model,
``figures/`` its figures.

Everything starts from the files that ``espnet_plugin.bin.speechclip_inference`` writes (see
``data/inference_set.py``), so nothing needs the model. Only keyword scores need PyTorch, because
CLIP's tokenizer loads it.
"""
