"""Entry for ``torch.hub.load(DIRECTORY, "speechclip_plus", source="local", ckpt=MODEL)``."""

from s3prl_upstream import speechclip_plus

__all__ = ["dependencies", "speechclip_plus"]

# what loading imports, whatever the speech encoder
dependencies = ["filelock", "humanfriendly", "numpy", "safetensors", "torch", "yaml"]
