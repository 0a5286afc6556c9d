"""The page on the network: many people at once, bad requests, and how fast sliders are answered."""

import random
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from app.requests_of_all_kinds import ask, malformed
from glowkit.app.answers import IN_TURN
from glowkit.app.exhibit import MOST_BYTES

httpx = pytest.importorskip("httpx", reason="comes with Gradio: pip install 'glowkit[app]'")
GOOD = ("sample", 4, 0.5, 0.7, 2, 0, IN_TURN)


@pytest.fixture
def client(address: str) -> Any:
    with httpx.Client(base_url=address, timeout=120, trust_env=False) as client:
        yield client


def test_the_page_names_no_other_host(client: Any) -> None:
    page = client.get("/").text
    assert "fonts.googleapis" not in page
    assert "cdn" not in page
    assert client.base_url.host == "127.0.0.1"


@pytest.mark.parametrize("people", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_people_at_once_are_all_answered(client: Any, people: int) -> None:
    def one(seed: int) -> tuple[str, str]:
        return ask(client, "sample", 4, 0.5, 0.7, 2, seed % 5, IN_TURN)

    with ThreadPoolExecutor(people) as pool:
        answers = list(pool.map(one, range(people)))
    assert {event for event, _ in answers} == {"complete"}
    assert len({html for _, html in answers}) == 5  # everyone has the samples of the own seed


@pytest.mark.parametrize("header", ["Host", "Origin"])
@pytest.mark.parametrize(
    "path",
    ["/", "/config", "/gradio_api/queue/data", "/gradio_api/call/sample", "/gradio_api/upload"],
)
def test_another_name_is_turned_away(client: Any, header: str, path: str) -> None:
    for name in ("evil.example", f"evil.example:{client.base_url.port}"):
        value = name if header == "Host" else f"http://{name}"
        for method in ("GET", "POST", "OPTIONS"):
            response = client.request(method, path, headers={header: value})
            assert response.status_code == 403
            assert "own address only" in response.text


@pytest.mark.parametrize(
    "path",
    [
        "{cwd}/pyproject.toml",
        "pyproject.toml",
        "./pyproject.toml",
        "{model}/config.json",
        "{model}/../model/config.json",
        "../../../../../../etc/passwd",
        "..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "/proc/self/environ",
        "file:///etc/passwd",
        "http://127.0.0.1:9/x",
        "\\etc\\passwd",
    ],
)
@pytest.mark.parametrize("route", ["/gradio_api/file=", "/file=", "/gradio_api/file/", "/static/"])
def test_no_file_of_this_machine_is_served(client: Any, model: Path, route: str, path: str) -> None:
    response = client.get(route + path.format(cwd=Path.cwd(), model=model))
    assert response.status_code in (400, 403, 404, 405, 422)
    for secret in ("root:", "[project]", "format_version", "PATH="):
        assert secret not in response.text


def test_a_large_upload_is_refused(client: Any) -> None:
    files = {"files": ("big.png", b"0" * (MOST_BYTES + 1), "image/png")}
    assert client.post("/gradio_api/upload", files=files).status_code == 413


def test_a_tour_with_mistakes_leaves_no_traceback(client: Any, model: Path) -> None:
    """All that a person can send from the page: empty boxes, numbers out of range, odd files."""
    told = 0
    for count, temperature, seed, label in [
        (None, 0.7, 0, IN_TURN),
        (4, None, 0, IN_TURN),
        (4, 0.7, None, IN_TURN),
        (4, 0.7, "", IN_TURN),
        (4, 0.7, "many", IN_TURN),
        (4, 0.7, "-1", IN_TURN),
        (4, 0.7, "9" * 400, IN_TURN),
        (400, 0.7, 0, IN_TURN),
        (4, -3, 0, IN_TURN),
        (4, 0.7, 0, "no such class"),
        (4, 0.7, 0, None),
        (4, 0.7, 0, []),
    ]:
        event, data = ask(client, "sample", count, 0.5, temperature, 2, seed, label)
        assert event == "error"
        told += "must be" in data or "no class" in data
    assert told == 12
    for place in (None, "", 7, -1, [], "half"):
        assert ask(client, "between", 0.5, place)[0] == "error"
    for amount in (None, "", 7, -7):
        assert ask(client, "edit", amount, 0.5)[0] == "error"
    for name in ("upload_image", "upload_corner", "upload_edited"):
        event, data = ask(client, name, None, None)
        assert event == "complete"
        assert "there is no file" in data
    for drawing in ("", 7, "data:text/html,x", [], {}):
        assert ask(client, "draw", drawing)[0] == "error"
    assert ask(client, "sample", 4, 0.5, 0.7, 2, "7", IN_TURN)[0] == "complete"
    assert "Traceback" not in model.with_name("log").read_text()


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_bad_requests_never_end_in_an_error_page(client: Any, count: int) -> None:
    chance = random.Random(0)
    statuses: Counter[int] = Counter()
    for _ in range(count):
        try:
            response = malformed(client, chance)
        except httpx.TransportError:  # a stream that is refused after it has begun
            statuses[0] += 1
            continue
        assert response.status_code < 500, (response.request.url, response.request.content)
        assert "root:" not in response.text
        statuses[response.status_code] += 1
    assert sum(statuses[status] for status in (400, 403, 404, 422)) > count / 2
    assert statuses[0] < count / 10
    assert ask(client, *GOOD)[0] == "complete"


def test_a_value_out_of_range_is_a_sentence(client: Any) -> None:
    event, data = ask(client, "sample", 4, 0.5, 77, 2, 0, IN_TURN)
    assert event == "error"
    assert "77" in data


@pytest.mark.slow
def test_a_slider_is_answered_within_300_ms(client: Any) -> None:
    """From the request to the whole answer; the machine must have nothing else to do."""
    for name, *data in (GOOD, ("between", 0.3, 0.5), ("edit", 0.5, 0.5)):
        times = []
        for _ in range(20):
            start = time.perf_counter()
            assert ask(client, name, *data)[0] == "complete"
            times.append(time.perf_counter() - start)
        print(f"{name}: median {1000 * median(times):.0f} ms, worst {1000 * max(times):.0f} ms")
        assert median(times) < 0.3


def test_an_address_that_cannot_be_served_is_a_sentence(address: str, model: Path) -> None:
    port = address.rpartition(":")[2]
    command = [sys.executable, "-m", "glowkit", "app", str(model), "--port", port]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 2
    assert outcome.stderr.endswith("give another --host or --port\n")
    assert "Traceback" not in outcome.stderr
