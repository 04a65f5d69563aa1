"""Entry for ``torch.hub.load(DIRECTORY, "speechclip_plus", source="local", ckpt=MODEL)``."""

from s3prl_upstream import speechclip_plus

__all__ = ["dependencies", "speechclip_plus"]

# What loading imports, whatever the speech encoder. humanfriendly is left out: once it is imported,
# its module has no __spec__, and PyTorch's check ends in a ValueError.
dependencies = ["filelock", "numpy", "safetensors", "torch", "yaml"]
