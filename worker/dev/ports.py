"""Ports for servers that clients will keep calling while they are down."""

from __future__ import annotations

import random
import socket

# Below those that systems give to outgoing connections (from 32768 on Linux, 49152 on macOS). In there, a
# client that calls again and again while the server restarts can take the server's port, or reach itself.
_RANGE = range(20_000, 32_000)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now; a moment later somebody may."""
    while is_taken(port := random.choice(_RANGE)):  # noqa: S311
        pass
    return port


def is_taken(port: int) -> bool:
    """Whether a server on 127.0.0.1 could not have this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
