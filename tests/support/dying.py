"""Run a job in a process in which the n-th call that changes the disk fails, or is never reached."""

import errno
import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn

CHANGES = ("open", "fsync", "fchmod", "rename", "replace", "link", "symlink", "unlink", "mkdir", "rmdir")

_DISK_REFUSED = 3


def kill() -> NoReturn:
    """End the process as SIGKILL does: nothing after this happens."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def refuse() -> NoReturn:
    """Fail as a broken disk does."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def completes(job: Callable[[], object], n: int, fault: Callable[[], NoReturn]) -> bool:
    """Run `job` in a forked process with `fault` in the place of change `n`; return whether it ended before that."""
    child = os.fork()
    if child == 0:
        reached = _put_at(n, fault)
        status = 1
        try:
            job()
            status = _DISK_REFUSED if reached else 0
        except OSError as error:
            status = _DISK_REFUSED if error.errno == errno.EIO else 1
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL, _DISK_REFUSED), f"the job failed by itself: {status}"
    return status == 0


def _put_at(n: int, fault: Callable[[], NoReturn]) -> list[str]:
    """Have change `n` replaced; the list that is returned gets its name when it is reached."""
    left = n
    reached: list[str] = []

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                reached.append(name)
                fault()
            return call(*args, **kwargs)

        return instead

    for name in CHANGES:
        setattr(os, name, counted(name, getattr(os, name)))
    return reached
