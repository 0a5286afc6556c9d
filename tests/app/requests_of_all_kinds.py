"""Requests to the page, good ones and bad ones."""

import json
import random
from typing import Any

STRANGE: list[Any] = [
    None, True, -1, 0, 1e308, -0.5, 2**70, "", "abc", "\0", "<script>", "9" * 5000, [], [[[]]], {},
    {"path": "/etc/passwd"}, {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
    {"path": "http://127.0.0.1:9/x.png", "meta": {"_type": "gradio.FileData"}}, {"index": 10**9},
]  # fmt: skip
NAMES = [
    "sample",
    "show",
    "between",
    "edit",
    "upload_image",
    "draw",
    "loop",
    "upload_corner",
    "nothing",
]
PATHS = [
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/file=../../etc/passwd",
    "/gradio_api/call/sample/no-such-event",
    "/gradio_api/queue/data",
    "/%00",
    "/nowhere",
    "/theme.css?x=" + "y" * 2000,
]


def ask(client: Any, name: str, *data: Any) -> tuple[str, str]:
    """The last event of an answer, "complete" or "error", and its data."""
    posted = client.post(f"/gradio_api/call/{name}", json={"data": list(data)})
    posted.raise_for_status()
    with client.stream("GET", f"/gradio_api/call/{name}/{posted.json()['event_id']}") as stream:
        event = ""
        for line in stream.iter_lines():
            kind, _, rest = line.partition(": ")
            if kind == "event":
                event = rest
            elif kind == "data" and event in ("complete", "error"):
                return event, rest
    raise AssertionError(f"{name} was never answered")


def malformed(client: Any, chance: random.Random) -> Any:
    """Send one bad request; the response."""
    name = chance.choice(NAMES)
    strange = [chance.choice(STRANGE) for _ in range(chance.randrange(7))]
    kind = chance.randrange(6)
    if kind == 0:
        return client.post(f"/gradio_api/call/{name}", json={"data": strange})
    if kind == 1:
        return client.post(f"/gradio_api/call/{name}", json=chance.choice(STRANGE))
    if kind == 2:
        body = json.dumps({"data": strange}).encode()[: chance.randrange(8)]
        headers = {"content-type": "application/json"}
        return client.post(f"/gradio_api/call/{name}", content=body, headers=headers)
    if kind == 3:
        body = {"fn_index": chance.choice(STRANGE), "data": strange, "session_hash": "x"}
        return client.post("/gradio_api/queue/join", json=body)
    if kind == 4:
        headers = {"content-type": chance.choice(["multipart/form-data", "text/plain"])}
        return client.post("/gradio_api/upload", content=chance.randbytes(99), headers=headers)
    return client.get(chance.choice(PATHS))
