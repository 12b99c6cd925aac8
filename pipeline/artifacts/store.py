"""`Store`: what every kind of registry can do; and which one a reference means."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.reference import Reference


class Pointer(NamedTuple):
    """Where a name leads: a manifest's digest. `token` is what the store knows this state of the name by.

    An empty digest: what is stored under the name is no pointer.
    """

    digest: str
    token: str


class Store(Protocol):
    """Content that never changes, under its digest; and names that lead to it. Every call may raise RegistryFault."""

    def put(self, digest: str, data: bytes, *, is_manifest: bool = False) -> None:
        """Store content, unless it is there."""
        ...

    def get(self, digest: str, limit: int, *, is_manifest: bool = False) -> bytes | None:
        """Return content as it is stored, not verified; None where it is not there."""
        ...

    def pointer(self, name: str) -> Pointer | None:
        """Return where a name leads; None where there is none."""
        ...

    def point(self, name: str, digest: str, seen: Pointer | None) -> None:
        """Lead a name to a manifest, if it is as it was `seen`; else raises Moved.

        A store that cannot compare and swap compares first, and looks again afterwards.
        """
        ...

    def names(self) -> list[str]:
        """Return all names, sorted."""
        ...


def open_store(reference: Reference) -> Store:
    """Return the store that a reference is to. Raises RegistryFault where a package is missing."""
    if reference.scheme == "file":
        from pipeline.artifacts.objects import ObjectStore
        from pipeline.artifacts.share import Share

        return ObjectStore(Share(reference))
    from pipeline.runtime.extras import lacking

    if missing := lacking("registry", f"{reference.scheme}://"):
        raise RegistryFault("local", missing)
    if reference.scheme.startswith("oci"):
        from pipeline.artifacts.oci import OciStore

        return OciStore(reference)
    from pipeline.artifacts.bucket import Bucket
    from pipeline.artifacts.objects import ObjectStore

    return ObjectStore(Bucket(reference))
