"""What things are called in NATS. A tenant has a stream and a bucket of its own, and may have an account of its own."""

from __future__ import annotations

import re

FAULTS = ("down", "slow", "refused", "full", "lost", "moved", "local")
"""What can be wrong with the servers. down: not there, or it failed; slow: no answer in time; refused: not with this
key; full: no room; lost: no such stream, bucket or consumer; moved: somebody else was first; local: what is missing is
on this side."""

SUBJECTS = "vmafx.samples"
"""What the subjects of samples begin with; tenant and node follow, a part each."""


def is_name(text: str) -> bool:
    """Whether a tenant or a node can be called that: a part of a subject, and of a file's name."""
    return re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text) is not None


def subject(tenant: str, node: str) -> str:
    """Return the subject on which a node's samples are sent."""
    return f"{SUBJECTS}.{tenant}.{node}"


def subjects(tenant: str) -> str:
    """Return the pattern of the subjects of all nodes of a tenant."""
    return f"{SUBJECTS}.{tenant}.*"


def node_of(sent_on: str) -> str:
    """Return the node that a message was sent by, as the server let it."""
    return sent_on.rpartition(".")[2]


def stream(tenant: str) -> str:
    """Return the name of the stream of a tenant's samples."""
    return f"vmafx-samples-{tenant}"


def bucket(tenant: str) -> str:
    """Return the name of the key-value bucket in which a tenant's pool says which model is its newest."""
    return f"vmafx-models-{tenant}"


def leases(tenant: str) -> str:
    """Return the name of the bucket in which a tenant's pools say that they are at work."""
    return f"vmafx-pools-{tenant}"


def inbox(node: str) -> str:
    """Return what the subjects begin with on which a node is answered."""
    return f"_INBOX_{node}"


def newest_model(tenant: str, base_sha256: str) -> str:
    """Return the subject of the bucket's key that says which model of a base model is the newest."""
    return f"$KV.{bucket(tenant)}.{base_sha256}"


def pool_inbox(pool: str) -> str:
    """Return the same for a pool: never that of a node, whatever the two are called."""
    return f"_INBOX.{pool}"


def account(tenant: str, node: str) -> str:
    """Return the name of a node's account; that of a pool, which has the stream, is the tenant's name."""
    return f"{tenant}/{node}"
