"""What docs/correction.md says of real encodes holds."""

import pytest

pytest.importorskip("pyarrow", reason="the corpus extra is not installed")

from benchmarks.correction_real_rows import CAPTURES, FRAMES, curves, load_encodes

CODECS = ("libx264", "libx265", "libsvtav1")


@pytest.mark.skipif(not FRAMES.exists(), reason=f"{FRAMES} is not there")
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("target", ["vmaf_neg", "vmaf_phone"])
def test_a_correction_beats_the_running_mean_within_80_captures(codec: str, target: str) -> None:
    """On sources never seen, it is better than no correction and than the mean residual."""
    errors = curves(load_encodes(), codec, target)
    at = CAPTURES.index(80)
    assert errors["quadratic"][at] < errors["linear"][at] < errors["running mean"][at] < errors["before"][at]
