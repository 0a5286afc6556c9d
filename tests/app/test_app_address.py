"""Where the page is served, and who is let in."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glowkit.app import address
from glowkit.app.address import PORTS, OnlyByName, free_port
from glowkit.system.errors import GlowkitError

PORT = 7860


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_free_port_is_found() -> None:
    port = free_port("127.0.0.1", None)
    assert port in PORTS
    assert free_port("127.0.0.1", port) == port
    with socket.create_server(("127.0.0.1", port)):
        assert free_port("127.0.0.1", None) != port


def test_a_taken_port_is_named(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GlowkitError, match=f"port {taken} of .* is taken"):
        free_port("127.0.0.1", taken)
    monkeypatch.setattr(address, "PORTS", range(taken, taken + 1))
    with pytest.raises(GlowkitError, match=r"each port from \d+"):
        free_port("127.0.0.1", None)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", ""])
def test_a_host_that_is_none_is_a_sentence(host: str) -> None:
    if host:
        with pytest.raises(GlowkitError, match="no address of this machine"):
            free_port(host, None)


def test_a_port_of_the_system_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(address, "_listen", refused)
    with pytest.raises(GlowkitError, match=r"port 80 of .* may be used by the admin"):
        free_port("127.0.0.1", 80)


def test_a_taken_port_is_noticed_before_anything_is_loaded(taken: int, tmp_path: Path) -> None:
    program = "import sys; sys.modules['torch'] = None; from glowkit.cli import main; main()"
    command = [sys.executable, "-c", program, "app", str(tmp_path), "--port", str(taken)]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 2
    assert outcome.stderr.startswith(f"glowkit: port {taken} of 127.0.0.1 is taken")
    assert outcome.stderr.count("\n") == 1


def status(served_at: str, kind: str = "http", **headers: str) -> int:
    """What a page served there answers: 200 where it was reached; a closed socket is 403."""
    sent: list[Any] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": kind, "headers": pairs, "server": ("127.0.0.1", PORT)}
    asyncio.run(OnlyByName(page, served_at)(scope, receive, send))
    if sent[0]["type"] == "websocket.close":
        return 403
    return int(sent[0]["status"])


OURS = ["localhost:7860", "127.0.0.1:7860", "[::1]:7860", "LocalHost:7860"]
FOREIGN = [
    "evil.example",
    "evil.example:7860",
    "localhost.evil.example:7860",
    "evil.example:7860@localhost:7860",
    "localhost:7860.evil.example",
    "localhost:1",
    "localhost",
    "localhost:",
    "localhost:7860:7860",
    "localhost:٧٨٦٠".encode().decode("latin-1"),
    "localhost:" + "9" * 5000,
    "192.168.0.7:7860",
    "[::2]:7860",
    "[::1",
    "",
    "127.0.0.1.nip.io:7860",
    "xn--localhost-:7860",
]


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("name", OURS)
def test_our_names_are_let_in(name: str, kind: str) -> None:
    assert status("127.0.0.1", kind, host=name) == 200
    assert status("127.0.0.1", kind, host=name, origin=f"http://{name}") == 200


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_names_are_turned_away(name: str, kind: str) -> None:
    assert status("127.0.0.1", kind, host=name) == 403
    assert status("127.0.0.1", kind, host=OURS[0], origin=f"http://{name}") == 403


@pytest.mark.parametrize("origin", ["null", "file://", "https://localhost:7860", "localhost:7860"])
def test_foreign_origins_are_turned_away(origin: str) -> None:
    assert status("127.0.0.1", host=OURS[0], origin=origin) == 403


def test_a_request_names_a_host() -> None:
    assert status("127.0.0.1") == 403


def test_a_host_that_was_asked_for_is_let_in() -> None:
    assert status("pictures.example", host="pictures.example:7860") == 200
    assert status("192.168.0.7", host="192.168.0.7:7860") == 200
    for anywhere in ("0.0.0.0", "::", "[::]"):
        assert status(anywhere, host="192.168.0.7:7860") == 200
        assert status(anywhere, host=f"{socket.gethostname()}:7860") == 200
        assert status(anywhere, host="evil.example:7860") == 403
