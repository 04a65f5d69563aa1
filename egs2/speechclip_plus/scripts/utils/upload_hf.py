"""Upload a packed model to Hugging Face: upload_hf.py --repo user/name --packed_model model.zip."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.inference.publishing import upload, write_model_card
from espnet_plugin.speechclip.hub import first_line
from espnet_plugin.utils.scratch import scratch_folder
from s3prl_upstream.hub_repository import make_repository


def publish(repo: str, packed_model: Path) -> None:
    """Uploads everything in one commit, in the layout that loads by the repository's name."""
    with scratch_folder(packed_model.parent, name="upload") as temporary:
        folder = temporary / "repository"
        make_repository(packed_model, folder)
        write_model_card(folder, packed_model, name=repo)
        upload(folder, repo, message=f"Upload {packed_model.name}")


def main(cmd: Sequence[str] | None = None) -> None:
    """Uploads; whatever the hub refuses ends it with one message and exit code 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repo", required=True, help="user/name")
    parser.add_argument("--packed_model", type=Path, required=True, help="zip of stage 10")
    args = parser.parse_args(cmd)
    try:
        publish(args.repo, args.packed_model)
    except (OSError, ValueError) as error:
        sys.exit(
            f"upload of {args.packed_model} to {args.repo} failed: {first_line(error)}. "
            "Are you logged in (hf auth login)?"
        )
    print(f'uploaded; it loads with SpeechCLIP.from_pretrained("{args.repo}")')


if __name__ == "__main__":
    main()
