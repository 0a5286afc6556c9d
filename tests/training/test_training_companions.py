"""Two processes train one run: when one is killed the other ends, and the run goes on."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import (
    repeatable_rows,
    slow_run,
    start,
    start_ranks,
    tiny_run,
    wait_for_rows,
)

from glowkit.system.errors import GlowkitError
from glowkit.tasks import likelihood
from glowkit.training import companions
from glowkit.training.metrics import read_rows

ENOUGH = 10.0  # seconds until the other process has ended


def together(run: Path, resume: bool, seconds: float, hang: bool = False) -> None:
    """The slow run as the command line would end it; its last words go into a file."""
    rank = os.environ.get("RANK", "0")
    if hang and rank == "0":
        from glowkit.training import loop

        agree = loop.agree

        def hanging(training: Any, *figure: float) -> Any:
            # As a collective operation of a library that does not notice.
            if training.state.step >= 5:
                threading.Event().wait(600)
            return agree(training, *figure)

        loop.agree = hanging
    with run.with_name(f"said-{rank}").open("a") as said:
        os.dup2(said.fileno(), 2)
        try:
            slow_run(run, resume, {}, seconds)
        except GlowkitError as error:
            print(f"glowkit: {error}", file=sys.stderr)
            sys.exit(2)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    process = start(together, run, False, 0.0)
    process.join(60)
    assert (run / "result").read_text() == "done"
    return run


def said(run: Path, rank: int) -> list[str]:
    lines = run.with_name(f"said-{rank}").read_text().splitlines()
    return [line for line in lines if line.startswith("glowkit: ")]


@pytest.mark.parametrize("hang", [False, True], ids=["at once", "in a library that waits"])
@pytest.mark.parametrize("victim", [0, 1])
def test_the_other_ends_and_the_run_goes_on(
    tmp_path: Path, uninterrupted: Path, victim: int, hang: bool
) -> None:
    if hang and victim == 0:
        pytest.skip("the one that hangs would be the one that is killed")
    run = tmp_path / "run"
    processes = start_ranks(2, together, run, False, 0.03, hang)
    wait_for_rows(run, 5, processes[0])
    processes[victim].kill()
    killed = time.monotonic()
    other = processes[1 - victim]
    other.join(60)
    took = time.monotonic() - killed
    assert other.exitcode == 2
    assert took < ENOUGH
    assert said(run, 1 - victim) == [
        f"glowkit: process {processes[victim].pid} on {socket.gethostname()}, one of 2 that train"
        f" {run} together, has ended before the others; what was saved is whole: go on, with any"
        f" number of processes, by glowkit train --resume --out {run}"
    ]
    print(f"ended {took:.1f} s after the kill")
    if hang:
        return
    for number in (2, 1) if victim else (1, 2):  # a part of the rest, then all of it
        again = start_ranks(number, together, run, True, 0.02)
        if number != (1 if victim else 2):
            wait_for_rows(run, 15, again[0])
            for process in again:
                process.kill()
        for process in again:
            process.join(60)
    assert (run / "result").read_text() == "done"
    rows = zip(repeatable_rows(run), repeatable_rows(uninterrupted), strict=True)
    for row, other_row in rows:
        figures = [[float(cell or "nan") for cell in cells] for cells in (row, other_row)]
        assert figures[0] == pytest.approx(figures[1], rel=1e-5, nan_ok=True)


SCRIPT = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import training_runs
from glowkit.system.errors import GlowkitError

run = Path(sys.argv[1])
run.with_name("pid-" + os.environ.get("LOCAL_RANK", "0")).write_text(str(os.getpid()))
mode, rank = sys.argv[2], os.environ.get("LOCAL_RANK")
if mode == "early" and rank:  # before it can talk to the first process
    import time
    time.sleep(3)
try:
    training_runs.slow_run(run, False, {{"devices": 2}}, 0.03)
except GlowkitError as error:
    print(f"glowkit: {{error}}", file=sys.stderr)
    sys.exit(2)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    return path


def wait_for(path: Path) -> int:
    deadline = time.monotonic() + 240
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(path.read_text())


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at Linux's process table")
@pytest.mark.parametrize(
    ("when", "victim"),
    [
        pytest.param("early", 1, marks=pytest.mark.slow),
        pytest.param("training", 0, marks=pytest.mark.slow),
        pytest.param("early", 0, marks=pytest.mark.slow),
        pytest.param("training", 1, marks=pytest.mark.slow),
    ],
)
def test_processes_that_train_started_itself(
    tmp_path: Path, script: Path, victim: int, when: str
) -> None:
    run = tmp_path / "run"
    first = subprocess.Popen(
        [sys.executable, str(script), str(run), when],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    second = wait_for(tmp_path / "pid-1")
    if when == "training":
        deadline = time.monotonic() + 240
        while len(read_rows(run / "metrics.csv")) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    else:
        time.sleep(1.0)
    os.kill((first.pid, second)[victim], signal.SIGKILL)
    killed = time.monotonic()
    assert first.stderr is not None
    with first, first.stderr:
        err = first.stderr.read()  # ends with the last process that can write to it
    took = time.monotonic() - killed
    if when == "training":
        assert took < ENOUGH
    deadline = time.monotonic() + 60
    while alive(second):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    sentences = [line for line in err.splitlines() if line.startswith("glowkit: process ")]
    assert len(sentences) == 1
    assert f"process {(first.pid, second)[victim]} on" in sentences[0]
    if victim == 1:
        assert first.returncode == 2
    assert tiny_run(run, resume=True).step == 24


TWICE = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from training_runs import tiny_run

for name in ("one", "two"):
    tiny_run(Path(sys.argv[1], name), epochs=1, devices=2)
Path(sys.argv[1], "ended-" + os.environ["LOCAL_RANK"]).write_text(str(os.getpid()))
"""


@pytest.mark.slow
def test_a_program_that_trains_twice(tmp_path: Path) -> None:
    """Its processes are started once and go through it side by side."""
    path = tmp_path / "script.py"
    path.write_text(TWICE.format(tests=str(Path(__file__).parent)))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, str(path), str(tmp_path)], env=environment, check=True)
    for name in ("one", "two"):
        assert repeatable_rows(tmp_path / name)[-1][0] == "6"
        assert not (tmp_path / name / ".lock").exists()
    assert wait_for(tmp_path / "ended-0") != wait_for(tmp_path / "ended-1")


def test_a_stranger_is_sent_away() -> None:
    hub = companions.Companions(Path("run"))
    hub.ranks = 2
    hub.one_host = True
    with hub._server() as server:
        address = server.getsockname()
        strangers = [socket.create_connection(address) for _ in range(3)]
        strangers[0].sendall(b'{"token": "guess", "pid": 1}\n')
        strangers[1].sendall(b"GET / HTTP/1.1\r\n\r\n\n")
        strangers[2].close()
        friend = socket.create_connection(address)
        companions._send(friend, {"token": "secret", "pid": 7, "host": "here"})
        ((connection, peer),) = hub._accept(server, "secret")
        assert peer["pid"] == 7
        for one in (*strangers, friend, connection):
            one.close()


def test_a_mistake_in_one_process_ends_both(tmp_path: Path) -> None:
    processes = start_ranks(2, stumbling, tmp_path / "run")
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [2, 1]
    assert re.search(rf"process {processes[1].pid} on", said(tmp_path / "run", 0)[0])


def stumbling(run: Path) -> None:
    loss, calls = likelihood.training_loss, iter(range(10**6))

    def spoilt(*args: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if next(calls) == 5 and os.environ["RANK"] == "1":
            raise RuntimeError("a mistake")
        return loss(*args)

    likelihood.training_loss = spoilt
    together(run, False, 0.0)
