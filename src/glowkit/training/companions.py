"""What can end a run from outside: a signal, or the end of another of its processes."""

import contextlib
import hmac
import json
import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy

from glowkit.system.errors import GlowkitError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Notes the first SIGINT or SIGTERM; a second SIGINT interrupts at once.

    A context manager: puts the former handlers back. In a thread it does nothing, since Python
    delivers signals to the main thread only.
    """

    def __init__(self) -> None:
        self.received = 0
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            # None is a handler that was not installed from Python, and cannot be from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received += 1
        if number == signal.SIGINT and self.received > 1:
            raise KeyboardInterrupt


GRACE_SECONDS = 3.0
"""How long a process may take to end by itself when another is gone, before it is ended."""

_LOOK_SECONDS = 0.5
_CONNECT_SECONDS = 60.0
_PARENT = "GLOWKIT_PARENT"
_open: list[socket.socket] = []
_started: list[subprocess.Popen[bytes]] = []
"""This host's other processes. They run the same program, and with it whatever follows this run."""


def _leave_to_parent() -> None:
    # A worker that outlives its parent would keep the connection, and so the parent's life, up.
    for connection in _open:
        connection.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


class Companions:
    """Ends this process, in one sentence, soon after another process of the run has died.

    A collective operation among processes of which one is gone fails at once or waits for half an
    hour, by the library below. So every process keeps a connection to the first, which the system
    closes when a process dies, whatever killed it: the first tells the others. A process that does
    not end by itself within `GRACE_SECONDS`, since it waits in a library, is ended with exit code
    2. Processes that this one has started, and the one that has started this, are looked at too,
    from their start on. A host that falls silent is noticed by the system's keep-alive packets.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.lost: str | None = None
        self._noticed = threading.Event()
        self._closed = threading.Event()
        self._connected = False
        self._parent = int(os.environ.get(_PARENT, "0"))
        self._selector = selectors.DefaultSelector()
        self._watch = threading.Thread(target=self._look, name="companions", daemon=True)

    @contextlib.contextmanager
    def together(self, fabric: Fabric) -> Iterator[None]:
        """The processes of a run, able to talk to each other in this block.

        Raises GlowkitError in place of the error that the loss of another process leads to.
        """
        well = False
        try:
            self._start(fabric)
            fabric.launch()
            self._connect(fabric)
            yield
            well = True
        except GlowkitError:
            raise
        except Exception as error:
            lost = self._reason()
            if lost:
                raise GlowkitError(lost) from error
            raise
        finally:
            self._close(well)
            fabric.strategy.teardown()

    def _start(self, fabric: Fabric) -> None:
        """Start this host's other processes, where nobody else does, and watch from now on.

        As Lightning's launcher, but for its observer, which kills all of them without a word.
        """
        strategy = fabric.strategy
        if fabric.world_size == 1 or not isinstance(strategy, DDPStrategy):
            return
        cluster = strategy.cluster_environment
        assert cluster is not None
        self.ranks = fabric.world_size
        self.one_host = strategy.num_nodes == 1
        if not cluster.creates_processes_externally:
            os.environ |= {
                "MASTER_ADDR": cluster.main_address,
                "MASTER_PORT": str(cluster.main_port),
                "NODE_RANK": str(cluster.node_rank()),
                "WORLD_SIZE": str(self.ranks),
                "LOCAL_RANK": "0",  # with which Lightning takes them for started, now and later
            }
            for rank in range(1, strategy.num_processes):
                environment = os.environ | {"LOCAL_RANK": str(rank), _PARENT: str(os.getpid())}
                _started.append(subprocess.Popen(_this_command(), env=environment))
        self._watch.start()

    def _connect(self, fabric: Fabric) -> None:
        """Connect to the first process."""
        strategy = fabric.strategy
        if fabric.world_size == 1 or not isinstance(strategy, DDPStrategy):
            return
        me = {"pid": os.getpid(), "host": socket.gethostname()}
        if fabric.global_rank == 0:
            with self._server() as server:
                token = secrets.token_hex(16)
                assert strategy.cluster_environment is not None
                address = (
                    "127.0.0.1" if self.one_host else strategy.cluster_environment.main_address
                )
                port = server.getsockname()[1]
                strategy.broadcast({**me, "address": [address, port], "token": token})
                for peer in self._accept(server, token):
                    self._add(*peer)
            self._connected = True
            return
        first: Any = strategy.broadcast(None)
        connection = socket.create_connection(tuple(first["address"]), _CONNECT_SECONDS)
        _send(connection, {"token": first["token"], **me})
        self._add(connection, first)

    def _close(self, well: bool) -> None:
        """Take leave: `well` when this process has done its part, so that nobody misses it."""
        self._closed.set()
        if self._watch.ident is not None:
            self._watch.join()
        for key in list(self._selector.get_map().values()):
            with contextlib.suppress(OSError):
                if well or self.lost:
                    _send(key.fileobj, {"lost": self.lost})
            _open.remove(key.fileobj)  # type: ignore[arg-type]
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        for process in () if well else _started:
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _reason(self) -> str | None:
        """Why a collective operation has just failed: who is gone, or None if nobody is."""
        if self._watch.ident is None:
            return None
        self._noticed.wait(GRACE_SECONDS / 2)
        return self.lost

    def _server(self) -> socket.socket:
        if self.one_host:
            return socket.create_server(("127.0.0.1", 0))
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", 0))

    def _accept(self, server: socket.socket, token: str) -> Iterator[tuple[socket.socket, Any]]:
        """Connections of all others; strangers, who do not know the token, are sent away."""
        server.settimeout(_CONNECT_SECONDS)
        missing = self.ranks - 1
        while missing:
            connection, _ = server.accept()
            connection.settimeout(_CONNECT_SECONDS)
            try:
                peer = json.loads(_line(connection))
                if not hmac.compare_digest(peer["token"], token):
                    raise ValueError
            except (OSError, ValueError, KeyError, TypeError):
                connection.close()
                continue
            missing -= 1
            yield connection, peer

    def _add(self, connection: socket.socket, peer: Any) -> None:
        connection.settimeout(_CONNECT_SECONDS)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        _open.append(connection)
        self._selector.register(connection, selectors.EVENT_READ, peer)

    def _look(self) -> None:
        while not self._closed.is_set() and self.lost is None:
            if not self._selector.get_map():
                self._closed.wait(_LOOK_SECONDS)
            for key, _ in self._selector.select(_LOOK_SECONDS):
                self._read(key)
            for process in _started:
                if process.poll() or (process.returncode == 0 and not self._connected):
                    self._lose(process.pid, socket.gethostname())
            if self._parent and os.getppid() != self._parent:
                self._lose(self._parent, socket.gethostname())
        if self.lost is None:
            return
        for key in self._selector.get_map().values():
            with contextlib.suppress(OSError):
                _send(key.fileobj, {"lost": self.lost})
        self._noticed.set()
        if self._closed.wait(GRACE_SECONDS):
            return
        print(f"glowkit: {self.lost}", file=sys.stderr, flush=True)
        for process in _started:
            process.kill()
        os._exit(2)

    def _read(self, key: selectors.SelectorKey) -> None:
        """A last word, which is either that all is well or who is lost; or the end without one."""
        connection, peer = key.fileobj, key.data
        assert isinstance(connection, socket.socket)
        try:
            word = json.loads(_line(connection))
        except (OSError, ValueError):
            self._lose(peer["pid"], peer["host"])
            return
        if word["lost"]:
            self.lost = self.lost or word["lost"]
        self._selector.unregister(connection)
        _open.remove(connection)
        connection.close()

    def _lose(self, pid: int, host: str) -> None:
        self.lost = self.lost or (
            f"process {pid} on {host}, one of {self.ranks} that train {self.run} together, has"
            f" ended before the others; what was saved is whole: go on, with any number of"
            f" processes, by glowkit train --resume --out {self.run}"
        )


def _this_command() -> list[str]:
    """What started this process; its copies learn from the environment which ones they are."""
    import __main__

    if __main__.__spec__ is None:
        return [sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]]
    return [sys.executable, "-m", __main__.__spec__.name, *sys.argv[1:]]


def _send(connection: Any, message: dict[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _line(connection: socket.socket) -> bytes:
    """One line; what has come when the connection ends before."""
    text = b""
    while not text.endswith(b"\n") and len(text) < 10_000:
        piece = connection.recv(1000)
        if not piece:
            break
        text += piece
    return text
