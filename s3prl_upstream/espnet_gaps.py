"""Where ESPnet itself fails on current packages; closed in a process that the launcher starts.

Nothing of ESPnet is edited, nothing is imported before the program imports it, and what is
installed goes first. docs/espnet.md lists the gaps.
"""

from __future__ import annotations

import builtins
from types import ModuleType
from typing import Any

from s3prl_upstream.import_hook import after_import, in_place_of


def close_gaps() -> None:
    """For programs of ESPnet that this process is going to import."""
    after_import("espnet2.train.preprocessor", crop_with_current_numpy)
    after_import("espnet2.fileio.rttm", read_rttm_as_it_is)
    in_place_of("editdistance", count_edits_with_torchaudio)


def crop_with_current_numpy(preprocessor: ModuleType) -> None:
    """202511's spk and lid crop at ``int(startframe)``, an array of one element: numpy 2.4 does not
    make a number of it any more. 202611 has a number there.
    """

    def number(value: Any) -> int:
        return builtins.int(value.item() if hasattr(value, "item") else value)

    preprocessor.int = number


def read_rttm_as_it_is(rttm: ModuleType) -> None:
    """202511 says other types of diar's labels than it reads, and typeguard holds it to that."""
    from typeguard import suppress_type_checks

    rttm.load_rttm_text = suppress_type_checks(rttm.load_rttm_text)


def count_edits_with_torchaudio(editdistance: ModuleType) -> None:
    """ESPnet counts errors during training with editdistance, which not every Python has a build
    of. torchaudio, which ESPnet needs anyway, counts the same.
    """
    from torchaudio.functional import edit_distance

    editdistance.eval = editdistance.distance = edit_distance
