"""Peak memory of converting checkpoints of the real sizes, in a process of its own.

A skeleton names the weights of a released model and their shapes; a checkpoint is made of it with
random numbers.

Example:
    python -m benchmarks.convert_memory --skeleton fixtures/skeleton_base_hybrid_plus.json
    --work_dir scratch
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import GIB, get_parser, show
from tests.released import conversion_memory


def main(cmd: Sequence[str] | None = None) -> None:
    """Measures every skeleton."""
    parser = get_parser(__doc__)
    parser.add_argument("--skeleton", type=Path, nargs="+", required=True, help="skeleton_*.json")
    parser.add_argument("--work_dir", default=tempfile.gettempdir(), help="room for the files")
    args = parser.parse_args(cmd)
    rows, lines = [], []
    for skeleton in args.skeleton:
        with tempfile.TemporaryDirectory(dir=args.work_dir) as name:
            size, peak = conversion_memory(skeleton, Path(name), shrink=1)
        rows.append({"skeleton": skeleton.stem, "file": size, "peak": peak})
        lines.append(
            f"{skeleton.stem:<40} {size / GIB:6.2f} GiB file {peak / GIB:6.2f} GiB peak "
            f"{peak / size:6.2f} x"
        )
    show("\n".join(lines), rows, args.output)


if __name__ == "__main__":
    main()
