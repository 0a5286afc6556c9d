"""Damages files and reads them, in a process of limited memory; says what was not a sentence.

    python -m fuzz.worker --count 1000 [--first 0] [KIND ...]

prints a JSON object a kind: how many files were read, refused, and what else happened, if it did.
"""

import argparse
import faulthandler
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from pathlib import Path
from types import FrameType

import numpy as np
import torch

from fuzz.kinds import KINDS, Kind
from glowkit import GlowkitError, GlowkitWarning

SECONDS = 10  # of computing, so that it does not matter what else the machine does
MEMORY = 2**30


class TooSlow(BaseException):
    """An input took its ten seconds; not an Exception, so that no reader swallows it."""


def too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlow


def limit_memory() -> None:
    """What the process has now, and a GiB more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def run(name: str, kind: Kind, first: int, count: int) -> dict[str, object]:
    """The outcome of so many damaged files of a kind; each is made of the kind and its number."""
    outcome = {"kind": name, "files": count, "read": 0, "refused": 0}
    failures: list[str] = []
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        torch.manual_seed(0)
        paths = kind.make(Path(folder))
        good = {path: path.read_bytes() for path in paths}
        for path in paths:
            if path.name != "object.npy":
                attempt(kind, path)
        for number in range(first, first + count):
            rng = np.random.default_rng([zlib.crc32(name.encode()), number])
            path = paths[int(rng.integers(len(paths)))]
            path.write_bytes(kind.mutate(rng, good[path]))
            start = time.process_time()
            try:
                attempt(kind, path)
                outcome["read"] += 1  # type: ignore[operator]
            except GlowkitError as error:
                outcome["refused"] += 1  # type: ignore[operator]
                if "\n" in str(error) or len(str(error)) > 2000:
                    failures.append(f"{number}: {len(str(error))} characters, {str(error)[:300]!r}")
            except (Exception, TooSlow) as error:
                last = traceback.extract_tb(error.__traceback__)[-3:]
                where = " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(last))
                failures.append(f"{number}: {type(error).__name__}: {str(error)[:200]} ({where})")
            slowest = max(slowest, time.process_time() - start)
            if Path("canary").exists():
                Path("canary").unlink()
                failures.append(f"{number}: it ran code")
            path.write_bytes(good[path])
        os.chdir("/")
    return outcome | {"slowest": round(slowest, 2), "failures": failures}


def attempt(kind: Kind, path: Path) -> None:
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with warnings.catch_warnings():
            # Of ours and of libraries', which a user would see and not a traceback.
            warnings.simplefilter("error")
            for category in (GlowkitWarning, UserWarning, DeprecationWarning, RuntimeWarning):
                warnings.simplefilter("ignore", category)
            kind.read(path)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("kinds", nargs="*", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    signal.signal(signal.SIGPROF, too_slow)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["GLOWKIT_CACHE"] = cache
        limit_memory()
        for name in arguments.kinds or KINDS:
            faulthandler.dump_traceback_later(600, exit=True)
            print(json.dumps(run(name, KINDS[name], arguments.first, arguments.count)), flush=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
