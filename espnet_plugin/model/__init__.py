"""What is trained, in plain PyTorch: attention, keywords, losses, the model and its factory.

:mod:`espnet_plugin.pretrained` loads trained models.
"""
