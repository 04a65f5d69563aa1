"""What is trained, in plain PyTorch; :mod:`espnet_plugin.pretrained` loads trained models."""
