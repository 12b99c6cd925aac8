"""Which model of a pool is the newest: a key in a bucket of the tenant's, one for each base model.

The model itself is in a registry; here is only its digest. A pool says what its registry's `latest-stable` leads to. It
reads the key first, then the registry, and changes the key only from what it had read: so a pool that was slow never
puts back what another has replaced meanwhile (docs/decisions/0112-the-way-back.md).

What a node uses, and is allowed (`permissions`): a direct read of a key, and the subject that a change is
published on. That is heard before it is stored, and from whoever may publish there: it says when to read, not what.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import msgspec
from nats.aio.client import Client
from nats.js import api
from nats.js.errors import BadRequestError, NotFoundError

from pipeline.artifacts.artifact import CREATED
from pipeline.artifacts.published import created
from pipeline.artifacts.reference import DIGEST
from pipeline.config import Settings
from pipeline.fleet import buckets, names
from pipeline.fleet.faults import FleetFault, fault_of
from pipeline.fleet.link import ANSWER_S, Link

_LARGEST = 4096
_TRIES = 4
_WRONG_LAST = {10071, 10164}
"""Codes of JetStream: the key is not as it was expected to be."""


class Announcement(msgspec.Struct, frozen=True, kw_only=True):
    """What a pool says of its newest model.

    digest: of the artifact in the registry; empty: the model `sha256` (empty: any) was withdrawn, and there is none in
    its place. sha256: of the model. version, created: which it is of the pool's, and when it was made (RFC 3339).
    pool, registry: who says so, and where it was seen; nobody has to believe either.
    """

    digest: str
    base_sha256: str
    sha256: str = ""
    version: int = 0
    created: str = ""
    pool: str = ""
    registry: str = ""


class Entry(NamedTuple):
    """A key's value and its revision; None and 0 where there is none."""

    said: Announcement | None
    revision: int


def replaces(mine: Announcement, there: Announcement | None) -> bool:
    """Whether what this pool says has to be in the place of what is there, which was read before.

    Pools that share a registry all say what its pointer leads to, and only newer or withdrawn ones follow there.
    Between registries the time counts at which a model was made; nothing that is withdrawn replaces a model.
    """
    if there is None:
        return bool(mine.digest)
    if mine.digest == there.digest:
        return False
    if mine.registry == there.registry or mine.pool == there.pool:
        return True
    if not mine.digest or not there.digest:
        return bool(mine.digest) and mine.sha256 != there.sha256
    return created({CREATED: mine.created}) > created({CREATED: there.created})


def announce(
    link: Link, settings: Settings, base_sha256: str, newest: Callable[[], Announcement | None]
) -> Announcement | None:
    """Bring the key in line with what `newest()` says, asked after the key was read; return what the key says then.

    Waits for the network. Raises FleetFault, and what `newest` raises.
    """
    for _ in range(_TRIES):
        entry = link.begin(partial(_found_or_made, settings=settings, base_sha256=base_sha256)).result(2 * ANSWER_S)
        mine = newest()
        if mine is None or not replaces(mine, entry.said):
            return entry.said
        write = partial(_write, settings=settings, said=mine, revision=entry.revision)
        try:
            link.begin(write).result(2 * ANSWER_S)
        except FleetFault as fault:
            if fault.kind != "moved":
                raise
        else:
            return mine
    raise FleetFault("moved", f"the newest model was changed by others {_TRIES} times while it was to be changed here")


async def read(client: Client, tenant: str, base_sha256: str, *, direct: bool = True) -> Entry:
    """Return what is said of a base model's newest model; `direct`: by what a node may do, which may be a little old.

    A value that cannot be read counts as none. Raises FleetFault with what is wrong, "lost": there is no bucket.
    """
    try:
        found = await client.jetstream().get_last_msg(
            _stream(tenant), names.newest_model(tenant, base_sha256), direct=direct
        )
    except NotFoundError:
        return Entry(None, 0)
    except Exception as error:
        raise fault_of(error) from None
    said = _parsed(found.data or b"")
    return Entry(said if said is not None and said.base_sha256 == base_sha256 else None, found.seq or 0)


def bucket(settings: Settings) -> api.KeyValueConfig:
    """Return how the settings want the bucket: nodes may read a key directly."""
    return api.KeyValueConfig(
        bucket=names.bucket(settings.fleet_tenant),
        description="the newest model of each base model",
        max_value_size=_LARGEST,
        replicas=settings.fleet_replicas,
        direct=True,
    )


async def _found_or_made(client: Client, settings: Settings, base_sha256: str) -> Entry:
    await buckets.ensure(client, bucket(settings))
    return await read(client, settings.fleet_tenant, base_sha256, direct=False)


async def _write(client: Client, settings: Settings, said: Announcement, revision: int) -> None:
    """Set a key, if it is at this revision; else raises FleetFault, "moved"."""
    expected = {api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(revision)}
    subject = names.newest_model(settings.fleet_tenant, said.base_sha256)
    try:
        await client.jetstream().publish(subject, msgspec.json.encode(said), headers=expected)
    except BadRequestError as error:
        if error.err_code in _WRONG_LAST:
            raise FleetFault("moved", str(error)) from None
        raise


def _parsed(value: bytes) -> Announcement | None:
    try:
        said = msgspec.json.decode(value, type=Announcement)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return said if not said.digest or DIGEST.fullmatch(said.digest) else None


def _stream(tenant: str) -> str:
    return f"KV_{names.bucket(tenant)}"
