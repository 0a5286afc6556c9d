"""Where the page is served, and under which names: whoever calls it by another is turned away.

A page elsewhere can have its own name resolved to this machine (DNS rebinding), and its scripts
then read what is served here. Their requests still carry that name in Host, or in Origin.
"""

import errno
import ipaddress
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import closing
from typing import Any

from glowkit.system.errors import GlowkitError

PORTS = range(7860, 7960)  # the first free one is taken where none is asked for
LOCAL = frozenset(["localhost", "127.0.0.1", "::1"])
ANYWHERE = ("0.0.0.0", "::")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def free_port(host: str, port: int | None) -> int:
    """The port itself, or the first free one of `PORTS`, found by listening there for a moment.

    Raises:
        GlowkitError: where nothing can be served at this address, with the reason.
    """
    reason = ""
    for number in PORTS if port is None else [port]:
        try:
            _listen(host, number)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise GlowkitError(
                    f"the page cannot be served at {host}, which is no address of this machine;"
                    " give another --host or --port"
                ) from error
            taken = error.errno == errno.EADDRINUSE
            reason = "is taken" if taken else "may be used by the administrator only"
        else:
            return number
    named = f"port {port}" if port is not None else f"each port from {PORTS[0]} to {PORTS[-1]}"
    raise GlowkitError(f"{named} of {host} {reason}; give another --host or --port")


def _listen(host: str, port: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with closing(socket.socket(family, kind, protocol)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)


class OnlyByName:
    """ASGI middleware that answers 403 to requests and sockets that name another host or origin.

    Besides `LOCAL` the page may be called by the --host given. One that lets other machines in may
    be called by any numeric address, which nobody can have resolved to something else, and by this
    machine's own name.
    """

    def __init__(self, app: Any, host: str) -> None:
        self.app = app
        self.names = LOCAL | {host.strip("[]").lower()}
        self.by_number = host.strip("[]") in ANYWHERE
        if self.by_number:
            self.names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._is_called_right(scope):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            said = b"this page is served under its own address only"
            await send({"type": "http.response.body", "body": said})

    def _is_called_right(self, scope: Scope) -> bool:
        port = (scope.get("server") or (None, None))[1]
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        return (
            len(hosts) == 1
            and self._is_ours(hosts[0].decode("latin-1"), port)
            and all(self._is_our_origin(value.decode("latin-1"), port) for value in origins)
        )

    def _is_our_origin(self, origin: str, port: int | None) -> bool:
        scheme, separator, place = origin.partition("://")
        return scheme == "http" and bool(separator) and self._is_ours(place, port)

    def _is_ours(self, place: str, port: int | None) -> bool:
        """Whether NAME:PORT is this page; 80 goes without saying."""
        if place.startswith("["):
            name, _, rest = place[1:].partition("]")
            colon, number = rest[:1], rest[1:]
        else:
            name, colon, number = place.partition(":")
        if (colon and not (colon == ":" and number.isascii() and number[:6].isdecimal())) or (
            port is not None and int(number[:6] or 80) != port
        ):
            return False
        return name.lower() in self.names or (self.by_number and _is_number(name))


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
