"""The configurations of egs2/speechclip_plus are read by speechclip-plus's task."""

from pathlib import Path

import pytest

speechclip = pytest.importorskip("espnet_plugin.tasks.speechclip")

CONF = Path(__file__).parents[3] / "egs2" / "speechclip_plus" / "speechclip1" / "conf"


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: path.stem)
def test_configuration_is_known(path):
    if path.name.startswith("decode"):
        pytest.skip("an inference configuration")
    parser = speechclip.SpeechCLIPTask.get_parser()
    args = parser.parse_args(["--config", str(path), "--output_dir", "out"])
    assert args.best_model_criterion[0][0] == "valid"
