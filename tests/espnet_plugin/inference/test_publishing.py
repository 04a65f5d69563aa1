from __future__ import annotations

from pathlib import Path

from espnet_plugin.inference.publishing import FIGURE_FILE, _published


def test_a_figure_is_a_picture_beside_the_results(tmp_path: Path) -> None:
    model, card = tmp_path / "model", tmp_path / "card"
    for folder in (model / "figures", card):
        folder.mkdir(parents=True)
    for path in (tmp_path / "secret.png", model / "key.txt", model / "figures" / "a.png"):
        path.write_text(path.name)
    foreign = [f"![x]({link})" for link in (tmp_path / "secret.png", "../secret.png", "key.txt")]
    _published("\n".join(foreign), model, card)
    assert not (card / FIGURE_FILE).exists()
    _published("\n".join([*foreign, "![x](figures/a.png)"]), model, card)
    assert (card / FIGURE_FILE).read_text() == "a.png"
