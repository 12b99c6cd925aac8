"""Logs that ffmpeg's libvmaf wrote here (logs/make.sh), and two in the shape that version 1 wrote them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.libvmaf.pool import CLIP, HARMONIC, MEAN, SECOND
from pipeline.model.features import SIX
from tests.libvmaf.reading import ENCODE, LOGS, read


def as_json(path: Path) -> list[dict[str, float]]:
    """Return the metrics of every frame as another reader sees them."""
    return [frame["metrics"] for frame in json.loads(path.read_text())["frames"]]


@pytest.mark.parametrize("target", ["vmaf", "vmaf_neg", "vmaf_phone", "psnr_y"])
@pytest.mark.parametrize("path", ENCODE, ids=lambda path: path.suffix)
def test_each_format_gives_the_numbers_that_libvmaf_wrote(path: Path, target: str) -> None:
    """To float32; the features are the integer ones, in the order of the model."""
    frames, found = as_json(ENCODE[0]), read(path, target)
    expected = np.array([[frame[f"integer_{name}"] for name in SIX] for frame in frames], np.float32)
    np.testing.assert_array_equal(np.array(found.features, np.float32), expected)
    assert found.scores == [frame[target] for frame in frames]
    assert found.numbers == list(range(len(frames)))
    assert found.told == []


@pytest.mark.parametrize("suffix", ["json", "xml", "csv"])
def test_a_column_that_is_not_used_may_be_infinite(suffix: str) -> None:
    """ciede2000 between a video and itself is null or inf, beside features that are all there."""
    path = LOGS / f"identical.{suffix}"
    assert len(read(path).numbers) == 12
    assert read(path).told == []
    asked = read(path, target="ciede2000")
    assert asked.numbers == []
    assert "ciede2000" in asked.told[0]
    assert "expected a finite number; 12 frames left out, 0 used" in asked.told[0]


def test_float_features_are_taken_by_their_own_names() -> None:
    """The float model's log has no `integer_`."""
    frames, found = as_json(LOGS / "float.json"), read(LOGS / "float.json")
    np.testing.assert_allclose(found.features, [[frame[name] for name in SIX] for frame in frames], rtol=1e-7)


def test_a_log_of_another_model_is_told_by_its_columns() -> None:
    """The NEG model alone gives features of other names: what is missing, and what there is, is said."""
    (line,) = read(LOGS / "neg_alone.json").told
    assert line.startswith("has no adm2, vif_scale0, vif_scale1, vif_scale2, vif_scale3, which the model takes; it has")
    assert "integer_adm2_egl_1" in line
    named = ",".join(f"integer_{name}_egl_1" for name in SIX[:5])
    assert len(read(LOGS / "neg_alone.json", names=named).numbers) == 12


def test_frames_keep_their_numbers_where_some_were_skipped() -> None:
    """n_subsample=5 scores the frames 0, 5, 10."""
    assert read(LOGS / "subsampled.json").numbers == [0, 5, 10]


def test_version_1_is_read() -> None:
    """Names without `integer_`, whole numbers, tabs; JSON and XML give the same."""
    first, second = read(LOGS / "version1.json"), read(LOGS / "version1.xml")
    assert first == second
    assert first.scores == [83.8563, 81.2009]
    assert first.features[1] == pytest.approx([0.951217, 0.441052, 0.847551, 0.921034, 0.954873, 4.12394])


def test_subtitles_are_refused() -> None:
    """log_fmt=sub is for players."""
    assert read(ENCODE[0].with_suffix(".sub")).told == [
        "is a subtitle (log_fmt=sub); expected a log in JSON, XML or CSV"
    ]


@pytest.mark.parametrize("how", [MEAN, HARMONIC])
@pytest.mark.parametrize("path", ENCODE, ids=lambda path: path.suffix)
def test_pooling_over_the_clip_is_libvmafs(path: Path, how: str) -> None:
    """The figures of the log's own pooled_metrics, which have six decimals."""
    pooled = json.loads(ENCODE[0].read_text())["pooled_metrics"]
    found = read(path, "vmaf_phone", CLIP, how)
    assert found.numbers == [0]
    assert found.scores == pytest.approx([pooled["vmaf_phone"][how]], abs=1e-5)
    assert found.features[0] == pytest.approx([pooled[f"integer_{name}"][how] for name in SIX], abs=2e-6)


def test_pooling_by_the_second_counts_frames_by_their_numbers() -> None:
    """At 5 frames a second, twelve frames are two whole seconds and a part of the third; two of three are skipped."""
    scores = [float(row["vmaf"]) for row in csv.DictReader(ENCODE[2].read_text().splitlines())]
    found = read(ENCODE[2], "vmaf", SECOND, MEAN, 5.0)
    assert found.numbers == [0, 1, 2]
    assert found.scores == pytest.approx([np.mean(scores[:5]), np.mean(scores[5:10]), np.mean(scores[10:])])
    assert read(LOGS / "subsampled.json", "vmaf", SECOND, MEAN, 10.0).numbers == [0, 1]


def test_a_codec_block_is_made_of_what_is_known_of_the_encode() -> None:
    """Its names are the model's; where the encoder is not known, that is what is missing."""
    names = "adm2,encoder_onehot[libx264],encoder_onehot[unknown],preset_norm,crf_norm"
    found = read(ENCODE[0], names=names, codec="libx264", preset="medium", crf=36.0)
    assert found.features[0][1:] == pytest.approx([1, 0, 5 / 9, 36 / 63])
    assert "has no codec, crf, which the model takes" in read(ENCODE[0], names=names).told[0]
