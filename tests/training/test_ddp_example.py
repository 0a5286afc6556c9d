"""The loop of the documentation, with the model itself in DistributedDataParallel."""

import importlib.util
from pathlib import Path

import torch
import torch.distributed as dist
from training_runs import start_ranks

EXAMPLE = Path(__file__).parents[2] / "examples" / "ddp_loop.py"
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "training.md"


def run_example(folder: Path) -> None:
    spec = importlib.util.spec_from_file_location("ddp_loop", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    dist.init_process_group("gloo")
    example.BATCH = 15  # unequal shares
    trained = example.train(steps=3)
    torch.save(trained.state_dict(), folder / f"rank-{dist.get_rank()}")
    dist.destroy_process_group()


def test_both_processes_end_with_one_model(tmp_path: Path) -> None:
    processes = start_ranks(2, run_example, tmp_path)
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    one, other = (torch.load(tmp_path / f"rank-{rank}") for rank in (0, 1))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_documentation_shows_it() -> None:
    loop = EXAMPLE.read_text().partition("    for step in range(steps):\n")[2]
    first = loop.partition("        if rank == 0")[0]
    shown = DOCUMENTATION.read_text()
    for line in first.splitlines():
        assert line.strip() in shown, line
