"""The benchmarks compare equals, count their rounds right, and report what was measured."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from benchmarks import large, limit
from benchmarks.case import Case
from benchmarks.drift import measure_drift
from benchmarks.floor import LAYOUTS, Floor
from benchmarks.gpu import time_gpu_steps
from benchmarks.large import GIB, measure_large
from benchmarks.memory import peak_bytes, resident_bytes
from benchmarks.page import write_page
from benchmarks.parameters import TOLERANCE, count_parameters
from benchmarks.results import add_section, read_results
from benchmarks.rounds import fastest, ratio, take_turns
from benchmarks.subjects import PEERS, builders, ours
from benchmarks.subjects.flow import Flow
from benchmarks.tables import tables
from glowkit import GlowkitError
from glowkit.core.chain import MEMORY_MODES

TINY = Case(size=8, levels=2, steps=2, width=8, batch=4)

# The peers call what torch has deprecated.
peers = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


class Machine:
    """A clock that subjects move on, and that runs at half speed in every other round."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.now, self.order = 0.0, []
        self.subjects = {name: lambda n=name, s=s: self.run(n, s) for name, s in seconds.items()}

    def run(self, name: str, seconds: float) -> None:
        slow = len(self.order) // len(self.subjects) % 2
        self.order.append(name)
        self.now += seconds * (1 + slow)


def test_rounds_rotate_and_ratios_do_not_see_a_slow_machine() -> None:
    machine = Machine({"a": 1.0, "b": 2.0, "c": 4.0})
    times = take_turns(machine.subjects, rounds=4, clock=lambda: machine.now)
    assert "".join(machine.order) == "cab" + "abc" + "bca" + "cab" + "abc"
    assert times["a"] == [2.0, 1.0, 2.0, 1.0]
    assert ratio(times["b"], times["a"]) == (2.0, 2.0, 2.0)
    assert fastest(times, ["b", "c"], "a") == "b"


def test_a_ratio_is_the_median_of_rounds_with_its_quartiles() -> None:
    assert ratio([1, 4, 9, 16, 50], [1, 2, 3, 4, 5]) == (3, 2, 4)
    assert ratio([3.0], [2.0]) == (1.5, 1.5, 1.5)


def test_the_operations_are_those_of_the_convolutions_in_the_floor() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    floor = Floor(TINY, torch.channels_last)
    with FlopCounterMode(display=False) as counter:
        floor.forward()
    assert counter.get_total_flops() == TINY.forward_operations()
    with FlopCounterMode(display=False) as counter:
        floor.forward_and_backward()
    assert counter.get_total_flops() == (1 + limit.BACKWARD) * TINY.forward_operations()


class Exponentials(Flow):
    """Keeps one tensor of 4 KiB for each exponential."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.scale = torch.nn.Parameter(torch.tensor(0.1))

    def log_prob(self, images: torch.Tensor) -> torch.Tensor:
        for _ in range(self.depth):
            images = (self.scale * images).exp()
        return images

    def sample(self, n: int) -> torch.Tensor:
        return torch.zeros(n)


def test_peak_memory_is_that_of_the_activations_that_live_at_once() -> None:
    images = torch.zeros(1024)
    shallow, deep = (peak_bytes(Exponentials(depth), images) for depth in (10, 20))
    assert 10 * 4096 <= shallow <= 13 * 4096
    assert deep - shallow == 10 * 4096


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux counts pages")
def test_resident_memory_grows_by_what_lives_at_once() -> None:
    images = torch.zeros(2**22)
    grown = resident_bytes(Exponentials(10), images)
    assert grown is not None
    assert 9 * 2**24 <= grown <= 30 * 2**24  # freed pieces lie between


def test_memory_modes_have_the_gradient_of_stored_activations() -> None:
    rows = list(measure_drift(TINY, [1, 2]))
    assert {row["mode"] for row in rows} == set(MEMORY_MODES)
    assert [row["case"]["steps"] for row in rows] == sorted([1, 2] * len(MEMORY_MODES))
    assert all(0 < row["error"] < 1e-4 for row in rows)


@peers
@pytest.mark.parametrize("width", [64, 512])
def test_peers_have_the_same_number_of_parameters(width: int) -> None:
    for name in PEERS:
        pytest.importorskip(name)
    rows = count_parameters(Case(size=8, width=width, batch=2))
    assert {row["subject"] for row in rows} >= set(PEERS)
    assert all(abs(row["difference"]) <= TOLERANCE for row in rows)


@peers
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_evaluates_and_samples_images(name: str) -> None:
    pytest.importorskip(name)
    subject = builders()[name](TINY).eval()
    images = TINY.images()
    with torch.no_grad():
        assert subject.log_prob(images).shape == (TINY.batch,)
    assert subject.sample(3).shape == (3, *images.shape[1:])


def test_a_step_is_taken_in_a_process_with_little_memory() -> None:
    store = {"glowkit store": ours()["glowkit store"]}
    (fits,) = measure_large(TINY, store, gib=4, threads=1)
    assert fits["batch"] == TINY.batch
    assert 0 < fits["bytes"] < 4 * GIB
    assert fits["seconds"] > 0


def test_a_batch_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt(case: Case, name: str, *_: int) -> dict[str, float]:
        fits = case.batch <= {"small": 1, "large": 0}[name]
        return {"seconds": 3.0, "bytes": 2 * GIB} if fits else {}

    monkeypatch.setattr(large, "_attempt", attempt)
    unused = dict.fromkeys(["small", "large"], ours()["glowkit store"])
    (table,) = tables("large", list(measure_large(TINY, unused, gib=4, threads=1)))
    assert table.rows == [["small", "1", "2.0", "3", "3.0"], ["large", "0", "", "", ""]]


@pytest.mark.parametrize("text", ["DefaultCPUAllocator: can't allocate memory", "out of memory"])
def test_memory_that_ran_out_is_known_behind_another_error(text: str) -> None:
    another = ValueError("node 7 encountered an error")  # what a library makes of torch's
    assert not large._is_full(another)
    another.__cause__ = RuntimeError(text)
    assert large._is_full(another)


def steps_row() -> dict[str, object]:
    floors = {name: [1.0 + index, 2.0 + index] for index, name in enumerate(LAYOUTS)}
    subjects = {"glowkit store": [2.0, 4.0], "normflows": [4.0, 8.0], "nflows": [5.0, 5.0]}
    times = subjects | {"FrEIA": [9.0, 9.0]} | floors | {limit.NAME: [0.5, 1.0]}
    return {"task": "training", "threads": 1, "case": asdict(TINY), "times": times}


def test_the_table_of_steps_holds_ratios_to_the_best_peer_and_the_floor() -> None:
    (table,) = tables("steps", [steps_row()])
    cells = dict(zip(table.columns, table.rows[0], strict=True))
    assert cells["ms"] == "3000.0"
    assert cells["best peer / glowkit"] == "1.88 (1.56 to 2.19) nflows"
    assert cells["glowkit store"] == "2.00"
    assert cells["normflows"] == "4.00"


def test_a_results_file_becomes_a_page_with_pictures(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    rows = [{"subject": "glowkit store", "case": asdict(TINY), "bytes": 3 * 2**20}]
    add_section(results, "memory", "an older command", 1.0, [])
    add_section(results, "memory", "the command", 60.0, rows)
    add_section(results, "steps", "another command", 60.0, [steps_row()])
    page = write_page(read_results(results), tmp_path).read_text()
    assert "| glowkit store | 3.0 |" in page
    assert "the command" in page
    assert "an older command" not in page
    assert "## Two processes" not in page
    for name in ("performance-memory.png", "performance-steps.png"):
        assert f"images/{name}" in page
        assert (tmp_path / "images" / name).stat().st_size > 0


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_file_that_holds_no_results_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(GlowkitError, match="results"):
        read_results(path)


def test_tables_of_a_gpu_and_the_refusal_where_there_is_none() -> None:
    times = {"glowkit store": [1.0, 2.0], "FrEIA": [0.5, 1.0]}
    row = {"task": "training", "case": asdict(TINY), "device": "a GPU", "times": times}
    page = tables("gpu steps", [row, {**row, "times": {"glowkit store": [1.0, 1.0]}}])[0].markdown()
    assert "1500.0 (1.00) | 750.0 (0.50) |" in page
    memory = {"subject": "FrEIA", "case": asdict(TINY), "bytes": 2**21, "seconds": 0.1}
    assert "2 (100 ms)" in tables("gpu memory", [memory])[0].markdown()
    if not torch.cuda.is_available():
        with pytest.raises(GlowkitError, match="no CUDA device"):
            next(time_gpu_steps(TINY, 1))
