"""Retrieval scores, keyword scores, figures and reports: functions over arrays and files.

Nothing here needs the model or PyTorch: it all starts from the files that
``espnet_plugin.bin.speechclip_inference`` writes (see ``inference_set.py``).
"""
