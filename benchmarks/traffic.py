"""Messages as nodes send them, and clients that send them as fast as they are taken."""

from __future__ import annotations

import json
import multiprocessing
import random
import selectors
import socket
import time
from multiprocessing.connection import Connection

_CHUNK = 1 << 18


def message(number: int, n_features: int, rng: random.Random) -> bytes:
    """Return one message with every field that a node sends; 957 bytes or so at 80 features."""
    body = {
        "job_id": f"{number:032x}",
        "features": [round(rng.random(), 6) for _ in range(n_features)],
        "true_score": round(rng.uniform(20, 100), 3),
        "source_id": f"source-{number // 96}",
    }
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def block(count: int, n_features: int, seed: int = 0) -> bytes:
    """Return `count` different messages in a row. Sent again and again, they are new once the ring has forgotten them."""
    rng = random.Random(seed)
    return b"".join(message(seed * count + i, n_features, rng) for i in range(count))


def pipelined_rate(path: str, data: bytes, connections: int, seconds: float) -> float:
    """Return answers a second to `connections` clients in a process of their own, each sending `data` over and over."""
    ours, theirs = multiprocessing.Pipe()
    client = multiprocessing.get_context("spawn").Process(
        target=_pipeline, args=(path, data, connections, seconds, theirs)
    )
    client.start()
    rate: float = ours.recv()
    client.join()
    return rate


def _pipeline(path: str, data: bytes, connections: int, seconds: float, result: Connection) -> None:
    selector = selectors.DefaultSelector()
    view = memoryview(data)
    for i in range(connections):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        sock.setblocking(False)
        start = len(data) * i // connections
        offset = data.find(b"\n", start) + 1 if i else 0
        selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, [offset])
    answers, began = 0, time.monotonic()
    counted_from, counted_at = 0, began
    while (now := time.monotonic()) < began + seconds:
        if counted_from == 0 and now > began + seconds / 4:
            counted_from, counted_at = answers, now
        for key, mask in selector.select(0.1):
            sock, place = key.fileobj, key.data
            assert isinstance(sock, socket.socket)
            if mask & selectors.EVENT_READ:
                answers += sock.recv(1 << 20).count(b"\n")
            if mask & selectors.EVENT_WRITE:
                place[0] = (place[0] + sock.send(view[place[0] : place[0] + _CHUNK])) % len(data)
    result.send((answers - counted_from) / (time.monotonic() - counted_at))
