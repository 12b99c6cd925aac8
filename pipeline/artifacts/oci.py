"""A store in an OCI registry, by oras.

Credentials come from Docker's `config.json` with its helpers, or from ORAS_USER and ORAS_PASS, as oras takes them.
OCI has no compare and swap for tags: two that move one at the same moment are told apart by looking again.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import oras.auth
import oras.provider
import requests
from oras.logger import logger
from requests.adapters import HTTPAdapter

from pipeline.artifacts.artifact import MANIFEST_LIMIT, MANIFEST_TYPE, digest_of
from pipeline.artifacts.faults import Moved, RegistryFault
from pipeline.artifacts.reference import TAG, Reference
from pipeline.artifacts.store import Pointer

_CONNECT_S, _READ_S = 5.0, 15.0
_HERE = ("localhost", "127.0.0.1")
_KINDS = {401: "refused", 403: "refused", 405: "read-only", 413: "full", 507: "full", 408: "slow", 504: "slow"}
_FULL = re.compile(r'"Err":28\b|quota|no space left', re.IGNORECASE)
_SAID = 4096


class OciStore:
    """`Store` in one repository."""

    def __init__(self, reference: Reference) -> None:
        self._where = str(reference.registry)
        host, _, _ = reference.place.partition("/")
        plain = reference.scheme == "oci+http" or host.rpartition(":")[0] in _HERE or host in _HERE
        logger.set_level(logging.CRITICAL)  # what it prints is in the faults
        self._registry = _Registry(self._where, plain)
        self._container = self._registry.get_container(reference.place)

    def put(self, digest: str, data: bytes, *, is_manifest: bool = False) -> None:
        """Upload content, unless it is there."""
        with self._told():
            if is_manifest:
                self._put_manifest(digest, data)
                return
            with tempfile.NamedTemporaryFile() as file:
                file.write(data)
                file.flush()
                self._registry.upload_blob(file.name, self._container, {"digest": digest, "size": len(data)})

    def get(self, digest: str, limit: int, *, is_manifest: bool = False) -> bytes | None:
        """Download content."""
        container, registry = self._container, self._registry
        url = container.manifest_url(digest) if is_manifest else container.get_blob_url(digest)
        headers = {"Accept": MANIFEST_TYPE} if is_manifest else {}
        with self._told():
            return registry.content(f"{registry.prefix}://{url}", headers, limit)

    def pointer(self, name: str) -> Pointer | None:
        """Return where a tag leads: the digest of what is under it, whatever that is."""
        url = f"{self._registry.prefix}://{self._container.manifest_url(name)}"
        try:
            with self._told():
                manifest = self._registry.content(url, {"Accept": f"{MANIFEST_TYPE}, */*"}, MANIFEST_LIMIT)
        except RegistryFault as fault:
            if fault.kind == "down" and self._has_tags():
                return Pointer("", "broken")  # a write that was cut off has left this tag without what it leads to
            raise
        if manifest is None:
            return None
        return Pointer(digest_of(manifest), digest_of(manifest))

    def point(self, name: str, digest: str, seen: Pointer | None) -> None:
        """Tag a manifest, if the tag is as it was seen; look again afterwards."""
        if self.pointer(name) != seen:
            raise Moved(name)
        manifest = self.get(digest, MANIFEST_LIMIT, is_manifest=True)
        if manifest is None:
            raise RegistryFault("lost", f"{self._where}: {digest} is not there")
        with self._told():
            self._put_manifest(name, manifest)
        if self.pointer(name) != Pointer(digest, digest):
            raise Moved(name)

    def names(self) -> list[str]:
        """Return all tags."""
        if not self._has_tags():
            return []
        with self._told():
            tags = self._registry.get_tags(self._container)
        return sorted(tag for tag in tags if TAG.fullmatch(tag))

    def _has_tags(self) -> bool:
        """Whether the registry answers, and there is a repository yet."""
        url = f"{self._registry.prefix}://{self._container.tags_url()}"
        with self._told():
            return self._registry.content(url, {}, 1) is not None

    def _put_manifest(self, name: str, data: bytes) -> None:
        url = f"{self._registry.prefix}://{self._container.manifest_url(name)}"
        self._registry.do_request(url, "PUT", data=data, headers={"Content-Type": MANIFEST_TYPE})

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except requests.Timeout:
            raise RegistryFault("slow", f"{self._where}: no answer within {_READ_S:g} s") from None
        except requests.RequestException as error:
            raise RegistryFault("down", f"{self._where}: {_reason(error)}") from None
        except (ValueError, AttributeError, KeyError):  # oras has met an answer that it does not know
            raise RegistryFault("refused", f"{self._where}: no credentials that it takes") from None


class _Registry(oras.provider.Registry):  # type: ignore[misc]  # untyped
    """oras' client with time limits, and with errors that say what the registry answered."""

    def __init__(self, where: str, plain: bool) -> None:
        super().__init__(insecure=plain)
        self._where, self._plain = where, plain
        self._knows_how, self._may_read = False, False
        self._timely(self)

    def do_request(self, url: str, method: str = "GET", *args: Any, **kwargs: Any) -> requests.Response:
        """Make a request once: oras tries again for two minutes, while the publisher has its own back-off."""
        self._learn_how()
        response: requests.Response = _ONCE(self, url, method, *args, **kwargs)
        if response.status_code >= 400 and response.status_code != 404:
            raise self._fault(response, writes=method not in {"GET", "HEAD"})
        self._may_read = self._may_read or method in {"GET", "HEAD"}
        if response.status_code == 404 and method in {"PUT", "POST", "PATCH"}:
            raise RegistryFault("down", f"{self._where}: 404 for a {method}; is that its address?")
        return response

    def blob_exists(self, layer: Any, container: Any) -> bool:
        """Whether content is there; not, where the registry fails at telling.

        docker-registry does for what a full disk has cut off, for ever; to upload it once more mends that.
        """
        try:
            return bool(super().blob_exists(layer, container))
        except RegistryFault as fault:
            if fault.kind != "down":
                raise
            return False

    def content(self, url: str, headers: dict[str, str], limit: int) -> bytes | None:
        """Return what is there, at most `limit` bytes; None where nothing is."""
        with self.do_request(url, "GET", headers=headers, stream=True) as response:
            if response.status_code == 404:
                return None
            return _at_most(response, limit)

    def _learn_how(self) -> None:
        """Ask once how the registry wants to be told who asks: oras has to be told."""
        if self._knows_how:
            return
        host = self._where.split("://")[1].partition("/")[0]
        answer = self.session.get(f"{self.prefix}://{host}/v2/", verify=self._tls_verify)
        if answer.headers.get("Www-Authenticate", "").lower().startswith("basic"):
            self.auth = oras.auth.get_auth_backend("basic", self.session, self._plain)
        docker = os.environ.get("DOCKER_CONFIG")  # which oras itself does not look at
        configs = [os.path.join(docker, "config.json")] if docker else None  # noqa: PTH118  # oras takes text
        self.auth.load_configs(self.get_container(self._where.split("://")[1]), configs)
        self._knows_how = True

    def _fault(self, response: requests.Response, *, writes: bool) -> RegistryFault:
        status, said = response.status_code, _at_most(response, _SAID).decode(errors="replace")
        kind = _KINDS.get(status, "down")
        if _FULL.search(said):
            kind = "full"
        elif status == 403 and writes and self._may_read:
            kind = "read-only"
        return RegistryFault(kind, f"{self._where}: {status} {response.reason}")

    @staticmethod
    def _timely(registry: oras.provider.Registry) -> None:
        for scheme in ("http://", "https://"):
            registry.session.mount(scheme, _Timely())


_ONCE: Any = oras.provider.Registry.do_request.__wrapped__  # without its retries


class _Timely(HTTPAdapter):
    """Requests that end."""

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send with a limit on each wait."""
        return super().send(*args, **(kwargs | {"timeout": (_CONNECT_S, _READ_S)}))


def _at_most(response: requests.Response, limit: int) -> bytes:
    got = bytearray()
    for chunk in response.iter_content(1 << 16):
        got += chunk
        if len(got) > limit:
            break
    return bytes(got[:limit])


def _reason(error: BaseException) -> str:
    """Return the innermost reason, without the address."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
