"""A live directory to which anything may happen: some hundred changes here, ten thousand with `make mutate`."""

from tests.checkpoints.mutations import mutations, run


def test_whatever_happens_to_a_live_directory() -> None:
    """No stable model is lost that was not hit, no pointer leads astray, no version comes twice, fsck names it all."""
    before = mutations.total()
    run(10, repeatable=True)
    assert mutations.total() - before > 50
