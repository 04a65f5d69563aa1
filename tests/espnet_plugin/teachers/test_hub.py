"""No long wait for a hub that is not there."""

from __future__ import annotations

import socket

import pytest

from espnet_plugin.teachers.hub import check_hub_reachable, first_line

PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")


@pytest.fixture(autouse=True)
def direct_connection(monkeypatch):
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


def test_listening_hub_is_reachable(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        check_hub_reachable()
    with pytest.raises(OSError, match=f"no connection to {endpoint}"):
        check_hub_reachable()


def test_offline_mode_is_honoured(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match="HF_HUB_OFFLINE"):
        check_hub_reachable()


def test_behind_a_proxy_only_the_download_can_tell(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    check_hub_reachable()


def test_first_line():
    assert first_line(OSError("one\ntwo")) == "one"
    assert first_line(EOFError()) == "EOFError"
