"""Upload a packed model to Hugging Face: upload_hf.py --repo user/name --packed_model model.zip."""

from __future__ import annotations

import argparse
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.speechclip.hub import check_hub_reachable, first_line
from s3prl_upstream.hub_repository import make_repository

CARD = """---
library_name: espnet
tags:
- espnet
- speechclip
- audio
- audio-to-image-retrieval
license: apache-2.0
---
# {repo}

A SpeechCLIP(+) model trained with the speechclip-plus recipe for ESPnet. It loads by its name, as
plain PyTorch:

```python
from espnet_plugin.speechclip import load_speechclip

model = load_speechclip("{repo}")
```

for keywords with their times, with `SpeechCLIPInference.from_pretrained("{repo}")` of
`espnet_plugin.inference.speechclip_inference`; as an upstream of s3prl, with
`-u speechclip_plus -k {repo}`.

{results}
"""
RESULTS = "RESULTS.md"


def model_card(repo: str, packed_model: Path) -> str:
    """README.md of the repository, with the results that were packed beside the model."""
    with zipfile.ZipFile(packed_model) as archive:
        results = archive.read(RESULTS).decode("utf-8") if RESULTS in archive.namelist() else ""
    return CARD.format(repo=repo, results=results)


def upload(repo: str, packed_model: Path) -> None:
    """Uploads everything in one commit, in the layout that loads by the repository's name."""
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory(dir=packed_model.parent, prefix=".upload") as temporary:
        folder = Path(temporary) / "repository"
        make_repository(packed_model, folder)
        (folder / "README.md").write_text(model_card(repo, packed_model), encoding="utf-8")
        check_hub_reachable()
        api = HfApi()
        api.create_repo(repo, exist_ok=True)
        api.upload_folder(
            repo_id=repo, folder_path=folder, commit_message=f"Upload {packed_model.name}"
        )


def main(cmd: Sequence[str] | None = None) -> None:
    """Uploads; whatever the hub refuses ends it with one message and exit code 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repo", required=True, help="user/name")
    parser.add_argument("--packed_model", type=Path, required=True, help="zip of stage 10")
    args = parser.parse_args(cmd)
    try:
        upload(args.repo, args.packed_model)
    except (OSError, ValueError) as error:
        sys.exit(
            f"upload of {args.packed_model} to {args.repo} failed: {first_line(error)}. "
            "Are you logged in (hf auth login)?"
        )
    print(f'uploaded; it loads with load_speechclip("{args.repo}")')


if __name__ == "__main__":
    main()
