"""Run a job in a process that is killed just before its n-th call that changes the disk."""

import os
import signal
from collections.abc import Callable
from typing import Any

CHANGES = ("open", "fsync", "fchmod", "rename", "replace", "link", "symlink", "unlink", "mkdir", "rmdir")


def completes_before(n: int, job: Callable[[], object]) -> bool:
    """Run `job` in a forked process that dies at change `n`; return whether it came to its end before."""
    child = os.fork()
    if child == 0:
        _die_at(n)
        try:
            job()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), f"the job failed by itself: {status}"
    return status == 0


def _die_at(n: int) -> None:
    left = n

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)

        return instead

    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name)))
