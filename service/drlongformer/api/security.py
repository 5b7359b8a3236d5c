"""Who may reach the service. Keys are not asked for yet, so by default nobody but this machine can.

The decision is made from the address the service listens on, never from a `Host` header, which callers write as they like.
"""

from __future__ import annotations

import ipaddress

from drlongformer.settings import Server, SettingsError


def check_exposure(server: Server) -> None:
    """Raises SettingsError if the service would listen beyond loopback without that being asked for in so many words."""
    if not (server.insecure_no_keys or is_loopback(server.host)):
        raise SettingsError(
            f"listening on {server.host} would let anyone who reaches it send requests, for no key is asked; "
            "listen on 127.0.0.1 behind a proxy that asks for one, or pass --insecure-no-keys"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address; a name other than `localhost` counts as wide."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
