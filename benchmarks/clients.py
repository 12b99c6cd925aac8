"""Clients of the socket, each kind run in a process of its own, so that they take no time from what is measured."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_CHUNK = 1 << 18


def apart(client: Callable[..., T], *arguments: object) -> T:
    """Call a function of this module in another process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(client, *arguments).result()


def _connect(path: str, count: int) -> dict[int, socket.socket]:
    connections = [socket.socket(socket.AF_UNIX) for _ in range(count)]
    for connection in connections:
        connection.connect(path)
        connection.setblocking(False)
    return {connection.fileno(): connection for connection in connections}


def pipelined(path: str, messages: list[bytes], connections: int, seconds: float) -> float:
    """Send all messages over and over on every connection without waiting for answers; return answers a second.

    The connections begin at different places. The first quarter of the time is not counted.
    """
    data = memoryview(b"".join(messages))
    starts = [len(b"".join(messages[: len(messages) * i // connections])) for i in range(connections)]
    sockets = _connect(path, connections)
    offsets = dict(zip(sockets, starts, strict=True))
    epoll = select.epoll()
    for fd in sockets:
        epoll.register(fd, select.EPOLLIN | select.EPOLLOUT)
    began = time.monotonic()
    answers, counted_from, counted_at = 0, -1, began
    while (now := time.monotonic()) < began + seconds:
        if counted_from < 0 and now > began + seconds / 4:
            counted_from, counted_at = answers, now
        for fd, mask in epoll.poll(0.1):
            if mask & select.EPOLLIN:
                answers += sockets[fd].recv(1 << 20).count(b"\n")
            if mask & select.EPOLLOUT:
                sent = sockets[fd].send(data[offsets[fd] : offsets[fd] + _CHUNK])
                offsets[fd] = (offsets[fd] + sent) % len(data)
    return (answers - counted_from) / (time.monotonic() - counted_at)


def lock_step(path: str, messages: list[bytes], connections: int, seconds: float) -> tuple[float, list[float]]:
    """Send a message on each connection whenever the one before is answered; return answers a second, and each delay.

    Delays are in seconds, from sending a message to having read its answer.
    """
    sockets = _connect(path, connections)
    epoll = select.epoll()
    following = itertools.cycle(messages)
    sent_at: dict[int, float] = {}
    delays: list[float] = []
    began = time.perf_counter()
    for fd in sockets:
        epoll.register(fd, select.EPOLLIN)
        sent_at[fd] = time.perf_counter()
        os.write(fd, next(following))
    while time.perf_counter() < began + seconds:
        for fd, _ in epoll.poll(1.0):
            os.read(fd, 4096)
            now = time.perf_counter()
            delays.append(now - sent_at[fd])
            sent_at[fd] = now
            os.write(fd, next(following))
    return len(delays) / (time.perf_counter() - began), delays


def paced(path: str, messages: list[bytes], connections: int, rate: float, seconds: float) -> list[float]:
    """Send `rate` messages a second whatever the answers do, over the connections in turn; return each delay.

    Delays are in seconds, counted from when the message was due, so that none is hidden behind another.
    """
    sockets = _connect(path, connections)
    order = list(sockets)
    due: dict[int, deque[float]] = {fd: deque() for fd in sockets}
    delays: list[float] = []

    def take(wait: float) -> None:
        readable = select.select(order, [], [], wait)[0]
        now = time.perf_counter()
        for fd in readable:
            delays.extend(now - due[fd].popleft() for _ in range(sockets[fd].recv(1 << 16).count(b"\n")))

    began = time.perf_counter() + 0.01
    for number in range(int(rate * seconds)):
        at = began + number / rate
        while (left := at - time.perf_counter()) > 0:
            take(left)
        fd = order[number % len(order)]
        sockets[fd].send(messages[number % len(messages)])
        due[fd].append(at)
    while any(due.values()):
        take(1.0)
    return delays
