"""What ingest remembers of the samples it has accepted."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.dedup import Deduplicator

WINDOW = 20
batches = st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=30), max_size=20)


@given(batches)
def test_the_newest_window_is_always_remembered(rounds: list[list[int]]) -> None:
    """Of any traffic, nothing that is among the newest accepted samples is ever accepted again."""
    resends = Deduplicator(WINDOW, [])
    accepted: list[int] = []
    for keys in rounds:
        are_new = resends.admit(list(keys))
        for key, is_new in zip(keys, are_new or [True] * len(keys), strict=True):
            assert not (is_new and key in accepted[-WINDOW:])
            if is_new:
                accepted.append(key)


@given(st.integers(1, 50))
def test_what_is_long_gone_is_forgotten(round_size: int) -> None:
    """Memory is bounded: after twice the window and two rounds, the same sample is a new one."""
    resends = Deduplicator(WINDOW, [])
    numbers = iter(range(1, 10_000))
    assert resends.admit([0]) is None
    for _ in range((2 * WINDOW) // round_size + 2):
        assert resends.admit([next(numbers) for _ in range(round_size)]) is None
    assert resends.admit([0]) is None


def test_samples_of_the_life_before_are_known() -> None:
    """A restarted ingest recognises what is in the ring."""
    assert Deduplicator(WINDOW, [1, 2, 3]).admit([3, 4, 4]) == [False, True, False]
