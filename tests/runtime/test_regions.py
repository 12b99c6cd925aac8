"""Names in shared memory: whose each is, whatever the instance is called; and room that is found again."""

from pathlib import Path

import pytest

from pipeline import config
from pipeline.config import Settings
from pipeline.runtime import regions
from pipeline.shm.segment import SHM_DIR


@pytest.fixture
def settings(instance: str) -> Settings:
    """Return the settings of a sidecar of this test's own."""
    return config.load({"VMAFX_SIDECAR_INSTANCE": instance})


@pytest.mark.parametrize("longer", ["-2", "-reports", "-run", "-ring", "-ingest"])
def test_a_name_that_begins_alike_is_another_instances(instance: str, settings: Settings, longer: str) -> None:
    """Also where it goes on with what could be a region."""
    other = config.load({"VMAFX_SIDECAR_INSTANCE": instance + longer})
    unfinished = SHM_DIR / f"{regions.name(other.instance_name, 'ring')}.123.new"
    try:
        for each in (settings, other):
            regions.open_board(each)
            with regions.claimed(each.instance_name) as alive:
                assert alive == []
        unfinished.touch()
        assert {instance, instance + longer} <= set(regions.instances())
        mine, theirs = set(regions.leftovers(instance)), set(regions.leftovers(other.instance_name))
        assert mine.isdisjoint(theirs)
        assert len(theirs) == len(mine) + 1
        assert unfinished.name in theirs
    finally:
        for leftover in regions.leftovers(other.instance_name):
            (SHM_DIR / leftover).unlink()


def test_what_is_not_a_sidecars_is_left_alone(instance: str) -> None:
    """Something else in shared memory whose name only looks like ours."""
    foreign = [Path(SHM_DIR / f"{regions.PREFIX}{instance}-{name}") for name in ("cache", "ring.bak", "ring.lock.old")]
    for path in foreign:
        path.touch()
    assert regions.leftovers(instance) == []
    assert instance not in regions.with_leftovers()


def test_a_mailbox_has_room_for_the_next_life(settings: Settings) -> None:
    """A writer that needs a little more than the one before it finds the same region, with what is in it."""
    box, opened = regions.own_mailbox(settings, "weights", 1000, spare=100)
    box.publish(b"weights")
    again, reopened = regions.own_mailbox(settings, "weights", 1090, spare=100)
    letter = again.read()
    assert (opened.is_new, reopened.is_new) == (True, False)
    assert letter is not None
    assert letter.payload == b"weights"
    assert regions.own_mailbox(settings, "weights", 1101, spare=100)[1].is_new
    assert not opened.segment.is_current()
