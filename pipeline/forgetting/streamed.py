"""Out of the stream that a pool reads: what a node, or every node, of its tenant has sent."""

from __future__ import annotations

from pipeline.config import Settings
from pipeline.forgetting.selection import Selection
from pipeline.runtime import regions
from pipeline.runtime.extras import lacking
from pipeline.shm.segment import SegmentError

_NEEDED = "give the command with the pool's settings: VMAFX_POOL, and VMAFX_FLEET_*"


def is_pool(settings: Settings) -> bool:
    """Whether samples come from a stream: by the settings of the command, or as the sidecar reports it itself."""
    if settings.pool:
        return True
    try:
        return bool(regions.attach_board(settings.instance_name).ingest().stream)
    except SegmentError:
        return False


def remove(settings: Settings, selection: Selection, *, only_count: bool = False) -> dict[str, int]:
    """Remove the messages that hold nothing else; return how many. Raises ConnectionError, which says what is wrong.

    The stream knows of each message who sent it, and nothing of the samples in it: messages of a node go, or of all.
    """
    node = selection.sender(settings.fleet_tenant)
    if node is None:
        return {"messages": 0}
    if missing := lacking("fleet", "a pool's stream"):
        raise ConnectionError(missing)
    if not settings.pool or not settings.fleet:
        raise ConnectionError(_NEEDED)
    from pipeline.fleet import link, stream
    from pipeline.fleet.faults import FleetFault

    tenant = settings.fleet_tenant
    try:
        found = link.ask(settings, "forget", lambda client: stream.purge(client, tenant, node, only_count=only_count))
    except FleetFault as fault:
        if fault.kind == "lost":  # no pool has made it yet
            return {"messages": 0}
        raise ConnectionError(f"{','.join(settings.fleet)}: {fault.kind}: {fault}") from None
    return {"messages": sum(found.values())}
