"""What a model takes: names from its `.json` or its width, and inputs made of columns by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.model.errors import UnusableModel
from pipeline.model.features import SIX, Features, MissingFeatures, features_of
from pipeline.model.graph import load_base_model

ONE = (("features", 6),)
TWO = (("features", 6), ("codec", 14))


def beside(directory: Path, said: dict[str, Any] | str) -> Path:
    """Write a `.json` and return the path of the model that it would lie beside."""
    text = said if isinstance(said, str) else json.dumps(said)
    (directory / "model.json").write_text(text)
    return directory / "model.onnx"


@pytest.mark.parametrize("name", ["vmaf_tiny_v1", "vmaf_tiny_v2", "vmaf_tiny_v4", "fr_regressor_v1", "fr_regressor_v2"])
def test_models_of_the_platform_take_the_six_first(shared_models: Path, name: str) -> None:
    """Each in its own words, or in none; the one with a second input goes on with its codec block."""
    path = shared_models / f"{name}.onnx"
    base = load_base_model(path)
    found = features_of(path, base.inputs)
    assert found.names[:6] == SIX
    assert len(found) == base.n_features
    assert found.named == (name != "vmaf_tiny_v1")
    assert (found.std[:6] != 1).all() == name.startswith("fr_regressor")
    if base.n_features == 20:
        assert found.names[6] == "encoder_onehot[libx264]"
        assert found.names[-2:] == ("preset_norm", "crf_norm")


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        ((("x", 3),), ("f0", "f1", "f2")),
        (ONE, SIX),
        ((("x", 6), ("y", 2)), (*SIX, "f6", "f7")),
        ((("x", 80),), tuple(f"f{i}" for i in range(80))),
    ],
)
def test_without_a_json_the_width_names(tmp_path: Path, inputs: Any, names: tuple[str, ...]) -> None:
    """Six are libvmaf's own; others are counted."""
    found = features_of(tmp_path / "model.onnx", inputs)
    assert found.names == names
    assert not found.named


def test_a_vocabulary_alone_lays_out_the_block(tmp_path: Path) -> None:
    """As the platform does: one place an encoder, then preset and CRF."""
    path = beside(tmp_path, {"feature_order": SIX, "encoder_vocab": ["libx264", "unknown"]})
    found = features_of(path, (("features", 6), ("codec", 4)))
    assert found.names[6:] == ("encoder_onehot[libx264]", "encoder_onehot[unknown]", "preset_norm", "crf_norm")


def test_the_codec_block_is_the_platforms(shared_models: Path) -> None:
    """Worked out by hand: medium of x265 is 5 of 9; what is not known is `unknown`, 5 of 9, 23."""
    path = shared_models / "fr_regressor_v2.onnx"
    taken = features_of(path, TWO)
    columns: dict[str, Any] = {name: taken.mean[i] + taken.std[i] * np.arange(4.0) for i, name in enumerate(SIX)}
    columns |= {
        "codec": np.array(["libx265", "H264", "libsvtav1", "prores"]),
        "preset": np.array(["medium", "placebo", "12", "medium"]),
        "crf": np.array([63, 0, 21, -1]),
    }
    inputs = taken.matrix(columns, "here")
    np.testing.assert_allclose(inputs[:, :6], np.repeat(np.arange(4.0), 6).reshape(4, 6), atol=1e-5)
    assert [taken.names[6 + place] for place in inputs[:, 6:18].argmax(axis=1)] == [
        f"encoder_onehot[{name}]" for name in ("libx265", "libx264", "libsvtav1", "unknown")
    ]
    assert inputs[:, 6:18].sum(axis=1).tolist() == [1, 1, 1, 1]
    np.testing.assert_allclose(inputs[:, 18:], np.array([[5 / 9, 1], [1, 0], [1, 1 / 3], [5 / 9, 23 / 63]]), rtol=1e-6)


def test_fixed_point_features_have_the_same_names() -> None:
    """`integer_adm2` of a log is adm2, whichever of the two a model asks for; what is asked for comes first."""
    columns = {"integer_adm2": np.array([0.5]), "motion2": np.array([2.0]), "integer_motion2": np.array([3.0])}
    assert Features.of(["adm2", "motion2"]).matrix(columns, "here").tolist() == [[0.5, 2.0]]
    assert Features.of(["integer_adm2", "integer_motion2"]).matrix(columns, "here").tolist() == [[0.5, 3.0]]


def test_what_is_missing_is_listed_with_what_there_is() -> None:
    """All of it, once each, and of a codec block the column that it is made of."""
    taken = Features.of(["adm2", "psnr_y", "encoder_onehot[libx264]", "encoder_onehot[unknown]", "crf_norm"])
    with pytest.raises(MissingFeatures) as raised:
        taken.columns(["adm2", "vmaf"], "rows.csv")
    assert str(raised.value) == ("rows.csv: no column for psnr_y, codec, crf, 3 of 5 features; there is adm2, vmaf")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("{", "Input data was truncated"),
        ("[]", "Expected `object`, got `array`"),
        ({"feature_order": "adm2"}, r"Expected `array`, got `str`"),
        ({"feature_order": ["adm2", "motion2"]}, r"2 features; the graph takes 6 \(features\[6\]\)"),
        ({"feature_mean": [0, 0]}, "feature_mean of 2 features; the graph takes 6"),
        ({"feature_std": [1, 1, 1, 1, 1, 0]}, "Expected `float` > 0"),
    ],
)
def test_a_json_that_does_not_fit_is_named(tmp_path: Path, said: dict[str, Any] | str, reason: str) -> None:
    """With the file and what the graph takes."""
    with pytest.raises(UnusableModel, match=f"model.onnx: model.json beside it: .*{reason}"):
        features_of(beside(tmp_path, said), ONE)


def test_a_codec_block_that_nobody_names_is_refused(tmp_path: Path) -> None:
    """A `.json` that names the first input alone does not say what the second one is."""
    with pytest.raises(UnusableModel, match=r"6 features; the graph takes 20 \(features\[6\] \+ codec\[14\]\)"):
        features_of(beside(tmp_path, {"features": SIX}), TWO)
