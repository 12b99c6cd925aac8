"""Objects as files of a directory, which may lie on a share: whole or absent, replaced under a lock."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.reference import Reference
from pipeline.runtime.durable import open_regular, write_durably
from pipeline.runtime.locks import taken

_PATIENCE_S = 10.0
_KINDS = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EFBIG: "full",
    errno.EROFS: "read-only",
    errno.EACCES: "refused",
    errno.EPERM: "refused",
    errno.ETIMEDOUT: "slow",
    errno.EWOULDBLOCK: "slow",
}


class Share:
    """`Objects` in a directory, which has to be there: one that is not mounted must not be made in its place."""

    def __init__(self, reference: Reference) -> None:
        self._root = Path(reference.place)
        self._where = str(reference.registry)

    def read(self, key: str, limit: int) -> tuple[bytes, str] | None:
        """Return an object; its token is its digest."""
        with self._told():
            try:
                with open_regular(self._root / key) as file:
                    data = file.read(limit)
            except FileNotFoundError:
                self._root.stat()
                return None
            return data, hashlib.sha256(data).hexdigest()

    def write(self, key: str, data: bytes, token: str | None) -> bool:
        """Replace an object, durably."""
        path = self._root / key
        with self._told():
            self._root.stat()
            path.parent.mkdir(parents=True, exist_ok=True)
            if token is None:
                try:
                    write_durably(path, data, replace=False)
                except FileExistsError:
                    return False
                return True
            with taken(self._root / ".lock", _PATIENCE_S):
                found = self.read(key, 1 << 30)
                if found is None or found[1] != token:
                    return False
                write_durably(path, data)
                return True

    def keys(self, prefix: str) -> list[str]:
        """Return the names of the files in a folder."""
        with self._told():
            self._root.stat()
            folder = self._root / prefix
            return [path.name for path in folder.iterdir()] if folder.is_dir() else []

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kind = _KINDS.get(error.errno or 0, "down")
            raise RegistryFault(kind, f"{self._where}: {error.strerror or error}") from None
