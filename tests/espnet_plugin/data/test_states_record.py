"""What decides stored hidden states."""

from __future__ import annotations

from espnet_plugin.data.states_record import encoder_options


def test_any_option_of_a_class_of_ones_own_counts() -> None:
    own = {"model": "x", "width": 3, "dropout_in_training": False}
    options = encoder_options("my_package.module:Class", own)
    assert options != encoder_options("my_package.module:Class", own | {"width": 5})
    assert options == encoder_options("my_package.module:Class", {"model": "x", "width": 3})
