"""End with an error when packages are missing, or fewer GPUs are seen than --ngpu asks for."""

from __future__ import annotations

import argparse
import importlib.util
import sys

PACKAGES = ("torch", "espnet2", "open_clip", "espnet_plugin")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ngpu", type=int, default=0)
    ngpu: int = parser.parse_args().ngpu
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"{sys.executable} lacks {', '.join(missing)}")
    if ngpu > 0:
        import torch

        if torch.cuda.device_count() < ngpu:
            sys.exit(f"PyTorch sees {torch.cuda.device_count()} of {ngpu} GPUs here")
