"""Upload a packed model to Hugging Face: upload_hf.py --repo user/name --packed_model model.zip."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

CARD = """---
tags:
- espnet
- speechclip
- audio
- audio-to-image-retrieval
license: apache-2.0
---
# {repo}

A SpeechCLIP(+) model trained with the speechclip-plus recipe for ESPnet. The archive loads with

```python
from espnet_plugin.speechclip import load_speechclip

model = load_speechclip("{archive}")
```

{results}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repo", required=True)
    parser.add_argument("--packed_model", type=Path, required=True)
    args = parser.parse_args()
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    results = sorted(args.packed_model.parent.glob("*/RESULTS.md"))
    card = CARD.format(
        repo=args.repo,
        archive=args.packed_model.name,
        results=results[-1].read_text(encoding="utf-8") if results else "",
    )
    api = HfApi()
    try:
        api.create_repo(args.repo, exist_ok=True)
        api.upload_file(
            path_or_fileobj=str(args.packed_model),
            path_in_repo=args.packed_model.name,
            repo_id=args.repo,
        )
        api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=args.repo)
    except (HfHubHTTPError, OSError) as error:
        sys.exit(f"upload to {args.repo} failed: {error}. Are you logged in (hf auth login)?")


if __name__ == "__main__":
    main()
