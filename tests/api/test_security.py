"""While nobody is asked for a key, the service listens beyond loopback only when told so in so many words."""

from __future__ import annotations

import pytest

from drlongformer.api.security import check_exposure, is_loopback
from drlongformer.settings import Server, SettingsError


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_no_permission(host: str) -> None:
    assert is_loopback(host)
    check_exposure(Server(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "localhost.example.org", "service", "", "127.0.0.1.nip.io"])
def test_anything_wider_does(host: str) -> None:
    with pytest.raises(SettingsError, match="--insecure-no-keys"):
        check_exposure(Server(host=host))
    check_exposure(Server(host=host, insecure_no_keys=True))
