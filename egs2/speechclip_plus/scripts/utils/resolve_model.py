"""Print where a model lies; a released one, or one on the Hugging Face hub, is downloaded."""

from __future__ import annotations

import sys

from espnet_plugin.pretrained.names import resolve_model

if __name__ == "__main__":
    try:
        print(resolve_model(sys.argv[1]))
    except (OSError, ValueError) as error:
        sys.exit(f"error: --model {error}")
