"""What is frozen: speech encoders and CLIP, in plain PyTorch, and the files of their weights."""
