"""A publisher that dies before its n-th write: `python -m tests.publisher.dying URL DIRECTORY N`.

Ends with 0 where it has made its pass with fewer writes.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import obstore
import requests

from pipeline.artifacts.reference import Reference
from pipeline.artifacts.store import open_store
from pipeline.publisher.push import Pusher


def die_before(number: int) -> None:
    """Have this process killed in place of its write `number` to a registry or to a bucket."""
    send, put, writes = requests.Session.send, obstore.put, 0

    def count() -> None:
        nonlocal writes
        writes += 1
        if writes == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted_send(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        if request.method not in {"GET", "HEAD"}:
            count()
        return send(session, request, **options)

    def counted_put(*given: Any, **options: Any) -> Any:
        count()
        return put(*given, **options)

    requests.Session.send = counted_send  # type: ignore[assignment,method-assign]
    obstore.put = counted_put


if __name__ == "__main__":
    url, directory, number = sys.argv[1:]
    die_before(int(number))
    Pusher(open_store(Reference.parse(url)), Path(directory)).run("")
