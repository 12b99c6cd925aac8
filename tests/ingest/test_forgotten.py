"""Samples that were forgotten and arrive again: answered, not stored, and counted."""

import json
from typing import Any

import pytest

from pipeline.forgetting.selection import Selection
from pipeline.ingest.admission import Admission
from pipeline.ingest.dedup import Deduplicator
from pipeline.ingest.forgotten import Tombstones, of_lines
from pipeline.runtime.control import FORGOTTEN, Control, ControlError, Forgotten, describe_forgotten
from pipeline.shm.ring import Ring

NOON = 1_779_969_600.0
BEFORE, AFTER = "2026-05-28T11:59:59Z", "2026-05-28T12:00:01Z"


def message(job: str, **fields: Any) -> bytes:
    """Return a line of a job."""
    return json.dumps({"job_id": job, "features": [1.0, len(job)], "true_score": 90, **fields}).encode()


def taken(rule: Selection, *lines: bytes) -> tuple[Admission, list[bool]]:
    """Send lines in one block where `rule` was forgotten at noon; return the admission, and which were stored."""
    stored = []
    admission = Admission(
        ring := Ring.private(64, 2), Deduplicator(64, []), 4096, tombstones=Tombstones([rule.tombstone(NOON)])
    )
    for line in lines:
        before = ring.head
        (answers,) = admission.admit([[line]], b'{"ok":true,"job_id":')
        assert json.loads(answers)["ok"]
        stored.append(ring.head > before)
    return admission, stored


@pytest.mark.parametrize(
    ("rule", "fields", "stored"),
    [
        (Selection(job="a"), {}, False),
        (Selection(job="a"), {"captured_at": AFTER}, False),
        (Selection(job="b"), {"captured_at": BEFORE}, True),
        (Selection(tenant="acme"), {"tenant_id": "acme", "captured_at": BEFORE}, False),
        (Selection(tenant="acme"), {"tenant_id": "acme", "captured_at": AFTER}, True),
        (Selection(tenant="acme"), {"tenant_id": "acme"}, False),
        (Selection(tenant="acme"), {"tenant_id": "acme", "captured_at": "yesterday"}, False),
        (Selection(tenant="acme"), {"tenant_id": "other"}, True),
        (Selection(group="clip"), {"source_id": "clip"}, False),
        (Selection(tenant="acme"), {"tenant_id": "other", "captured_at": BEFORE}, True),
        (Selection(group="clip"), {"source_id": "clip", "captured_at": BEFORE}, False),
        (Selection(group="a"), {"captured_at": BEFORE}, False),
        (Selection(node="n1"), {"node_id": "n1", "captured_at": BEFORE}, False),
        (Selection(node="n1"), {"node_id": "n1", "captured_at": AFTER}, True),
        (Selection(node="n1"), {"node_id": "n1"}, False),
        (Selection(node="n1"), {"node_id": "n2", "tenant_id": "n1"}, True),
        (Selection(before=NOON), {"captured_at": BEFORE}, False),
        (Selection(before=NOON), {"captured_at": AFTER}, True),
        (Selection(before=NOON), {}, True),
        (Selection(before=NOON + 3600), {"captured_at": AFTER}, True),
        (Selection(job="a", before=NOON), {}, False),
        (Selection(job="a", before=NOON), {"captured_at": AFTER}, True),
        (Selection(job="a", before=NOON), {"captured_at": BEFORE}, False),
        (Selection(job="a", tenant="acme"), {}, True),
        (Selection(job="a", tenant="acme"), {"tenant_id": "acme"}, False),
    ],
)
def test_what_a_rule_covers(rule: Selection, fields: dict[str, Any], stored: bool) -> None:
    """A job whole; of tenants and groups what was captured before, or nobody knows when; of times what was before."""
    admission, found = taken(rule, message("a", **fields))
    assert found == [stored]
    assert admission.forgotten == (not stored)


def test_only_the_covered_ones_of_many() -> None:
    """In one block, with resends among them; the names of what was forgotten are not remembered again."""
    ring = Ring.private(64, 2)
    tombstones = Tombstones([Selection(job="b").tombstone(NOON), Selection(group="clip").tombstone(NOON)])
    admission = Admission(ring, Deduplicator(64, []), 4096, tombstones=tombstones)
    admission.owners.unnamed = tombstones.names
    lines = [message(job, source_id="clip", captured_at=AFTER) for job in ("a", "b", "ccc", "a", "dddd")]
    (answers,) = admission.admit([[b"\n".join(lines)]], b'{"ok":true,"job_id":')
    assert answers.count(b'"ok":true') == 5
    assert ring.snapshot()[0].features[:, 1].tolist() == [1, 3, 4]
    assert (admission.resent, admission.forgotten) == (1, 1)
    assert b"clip" not in admission.owners.encoded()


def test_rules_are_bounded() -> None:
    """The newest stay; of those for the same names, the one that covers more."""
    control = Control()
    for number in range(FORGOTTEN + 5):
        control = control.with_forgotten(Forgotten(job=number))
    assert [each.job for each in control.forgotten] == list(range(5, FORGOTTEN + 5))
    again = control.with_forgotten(Forgotten(job=7, until=1.0))
    assert len(again.forgotten) == FORGOTTEN
    assert again.forgotten[-1] == Forgotten(job=7)
    later = again.with_forgotten(Forgotten(group=1, until=2.0)).with_forgotten(Forgotten(group=1, until=1.0))
    assert later.forgotten[-1] == Forgotten(group=1, until=2.0)


def test_rules_are_told_and_lifted() -> None:
    """By their hashes; all on one line of the orders in force; the one that fits the names ends."""
    job, tenant = Selection(job="a").tombstone(NOON), Selection(tenant="acme").tombstone(NOON)
    everybody = Selection(before=NOON).tombstone(NOON)
    told = [describe_forgotten(each) for each in (job, tenant, everybody)]
    assert told[0] == f"job 0x{job.job:016x}"
    assert told[1] == f"tenant 0x{tenant.tenant:016x}, captured before 2026-05-28T12:00:00Z, or nobody knows when"
    assert told[2] == "captured before 2026-05-28T12:00:00Z"
    control = Control().with_forgotten(job).with_forgotten(tenant)
    (line,) = control.lines()
    assert "2 in all" in line
    assert control.counts()["forgotten"] == 2
    assert control.without_forgotten(Forgotten(tenant=tenant.tenant)).forgotten == (job,)
    with pytest.raises(ControlError, match="--list"):
        control.without_forgotten(Forgotten(tenant=tenant.tenant, job=job.job))


def test_a_line_with_no_room_left_for_its_nesting_has_no_time() -> None:
    """Ingest has taken it with more room on its stack than there is where its time is asked for."""
    nested = b"[" * 100_000 + b"]" * 100_000
    assert of_lines([b'{"captured_at": "2026-05-28T12:00:01Z", "unknown": ' + nested + b"}"])(0) is None
