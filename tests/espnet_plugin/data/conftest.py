"""What inference leaves of a small set, as evaluation's tests read it."""

from tests.espnet_plugin.evaluation.conftest import inference_dir

__all__ = ["inference_dir"]
