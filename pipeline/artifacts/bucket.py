"""Objects in an object store (S3, Google Cloud Storage, Azure), by obstore.

Credentials, endpoint and region come from the environment and the files that obstore reads:
https://developmentseed.org/obstore/latest/authentication/.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import obstore
from obstore import exceptions
from obstore.store import from_url

from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.reference import Reference

_TIMEOUT_S = 20
_FULL = re.compile(r"\b507\b|InsufficientStorage|QuotaExceeded|StorageFull|EntityTooLarge")
_SLOW = re.compile(r"kind: Timeout|operation timed out")


class Bucket:
    """`Objects` in a bucket."""

    def __init__(self, reference: Reference) -> None:
        self._where = str(reference.registry)
        self._may_read = False
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "") + os.environ.get("AWS_ENDPOINT", "")
        options: Any = {"timeout": f"{_TIMEOUT_S}s", "connect_timeout": "5s", "user_agent": "vmafx-sidecar"}
        if endpoint.startswith("http://"):
            options["allow_http"] = True
        retries: Any = {"max_retries": 0, "retry_timeout": timedelta(seconds=_TIMEOUT_S)}
        with self._told():
            self._store: Any = from_url(self._where, client_options=options, retry_config=retries)

    def read(self, key: str, limit: int) -> tuple[bytes, str] | None:
        """Return an object; its token is its entity tag."""
        with self._told():
            try:
                found = obstore.get(self._store, key)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise RegistryFault("down", f"{self._where}: there is no such bucket") from None
                self._may_read = True
                return None
            self._may_read = True
            if found.meta["size"] > limit:
                return b"", str(found.meta["e_tag"])
            return bytes(found.bytes()), str(found.meta["e_tag"])

    def write(self, key: str, data: bytes, token: str | None) -> bool:
        """Replace an object, by a conditional put."""
        mode: Any = "create" if token is None else {"e_tag": token}
        with self._told(writes=True):
            try:
                obstore.put(self._store, key, data, mode=mode, use_multipart=False)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                return False
            except FileNotFoundError as error:
                if token is None:
                    raise RegistryFault("down", f"{self._where}: {_code(error)}") from None
                return False
        return True

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below a prefix."""
        with self._told():
            pages = obstore.list(self._store, prefix)
            return [str(each["path"]).removeprefix(f"{prefix}/") for page in pages for each in page]

    @contextmanager
    def _told(self, *, writes: bool = False) -> Iterator[None]:
        try:
            yield
        except RegistryFault:
            raise
        except Exception as error:  # obstore's own, and those of Python's that it takes in their place
            text = str(error)
            if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError | PermissionError):
                kind = "read-only" if writes and self._may_read else "refused"
            else:
                kind = "full" if _FULL.search(text) else "slow" if _SLOW.search(text) else "down"
            raise RegistryFault(kind, f"{self._where}: {_code(error)}") from None


def _code(error: Exception) -> str:
    """Return what went wrong in a few words, without addresses: those may carry a signature."""
    text = str(error)
    code = re.search(r"<Code>(\w+)</Code>", text) or re.search(r"non-2xx status code: ([^:\n]+)", text)
    if code:
        return code[1]
    reason = re.search(r"kind: (\w+)", text)
    return f"{type(error).__name__}" + (f" ({reason[1]})" if reason else "")
