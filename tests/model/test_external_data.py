"""Weights outside the model file: read from beside it, and from nowhere else."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from pipeline.model.graph import UnusableModel, load_base_model, parse_base_model
from tests.support.graphs import perceptron


def save(directory: Path, location: str = "weights.data", **changes: str) -> Path:
    """Write a perceptron whose first weight, 96 bytes, is said to be at `location`; `changes` go to its entries."""
    proto = perceptron()
    first = proto.graph.initializer[0]
    data = first.raw_data
    first.ClearField("raw_data")
    first.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": location, "offset": "16", "length": str(len(data))} | changes).items():
        first.external_data.add(key=key, value=value)
    path = directory / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    (directory / "weights.data").write_bytes(b"\xff" * 16 + data)
    return path


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    """From the offset on, with the values that onnx itself reads."""
    base = load_base_model(save(tmp_path))
    expected = onnx.numpy_helper.to_array(perceptron().graph.initializer[0])
    np.testing.assert_array_equal(base.vector()[:24].reshape(4, 6), expected)
    assert not any(t.external_data for t in base.proto.graph.initializer)


def test_a_directory_that_is_mounted_through_links_works(tmp_path: Path) -> None:
    """Kubernetes mounts files as links into a directory that lies beside them."""
    hidden = tmp_path / "..2026_05_28"
    hidden.mkdir()
    save(hidden)
    (tmp_path / "..data").symlink_to(hidden.name)
    for name in ("model.onnx", "weights.data"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    assert load_base_model(tmp_path / "model.onnx").n_parameters == 33


@pytest.mark.parametrize("location", ["../secret", "sub/../../secret", "/etc/passwd", "", ".", "..", "missing", "sub"])
def test_no_other_place_is_read(tmp_path: Path, location: str) -> None:
    """Neither above the model's directory nor an absolute path, nor something that is no file."""
    (tmp_path / "secret").write_bytes(b"s" * 200)
    directory = tmp_path / "models"
    (directory / "sub").mkdir(parents=True)
    with pytest.raises(UnusableModel, match=r"model\.onnx: .*('w0'|missing|is kept)"):
        load_base_model(save(directory, location))


def test_a_link_does_not_lead_out(tmp_path: Path) -> None:
    """A name inside the directory that links to a file outside is refused like the file's own path."""
    (tmp_path / "secret").write_bytes(b"s" * 200)
    directory = tmp_path / "models"
    directory.mkdir()
    (directory / "link").symlink_to("../secret")
    with pytest.raises(UnusableModel, match="expected a file in the model's directory"):
        load_base_model(save(directory, "link"))


@pytest.mark.parametrize(
    "changes",
    [
        {"length": "92"},
        {"length": "-1"},
        {"length": "9" * 30},
        {"length": "many"},
        {"offset": "-16"},
        {"offset": "20"},
        {"offset": "9" * 18},
        {"offset": "1e3"},
    ],
)
def test_offset_and_length_have_to_fit(tmp_path: Path, changes: dict[str, str]) -> None:
    """The length is the tensor's, and the file has that many bytes there."""
    with pytest.raises(UnusableModel, match=r"^model\.onnx: "):
        load_base_model(save(tmp_path, **changes))


def test_a_self_contained_model_is_expected_where_there_is_no_directory(tmp_path: Path) -> None:
    """Bytes that came through shared memory have no files beside them."""
    data = save(tmp_path).read_bytes()
    with pytest.raises(UnusableModel, match="expected one self-contained file"):
        parse_base_model(data, "model.onnx")


def test_a_huge_shape_is_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    """A shape of terabytes in a file of bytes."""
    path = save(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer[0].dims[:] = [1 << 40, 1 << 20]
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UnusableModel, match="at most 64 MiB expected"):
        load_base_model(path)


def test_tensors_together_are_bounded(tmp_path: Path) -> None:
    """A small model whose many tensors name the same bytes over and over: refused by their sum, and nothing is read."""
    path = save(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    for number in range(17):
        tensor = proto.graph.initializer.add(name=f"again{number}", data_type=TensorProto.FLOAT, dims=[1 << 20])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.data")
    path.write_bytes(proto.SerializeToString())
    (tmp_path / "weights.data").unlink()
    with pytest.raises(UnusableModel, match=r"^model\.onnx: its 21 tensors come to 71,303,\d{3} bytes; at most 64 MiB"):
        load_base_model(path)


def test_the_bound_counts_what_the_file_holds_itself(tmp_path: Path) -> None:
    """Half inside, half outside: too much together."""
    path = save(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer.add(name="inside", data_type=TensorProto.FLOAT, dims=[9 << 20]).raw_data = bytes(36 << 20)
    outside = proto.graph.initializer.add(name="outside", data_type=TensorProto.FLOAT, dims=[9 << 20])
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="weights.data")
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UnusableModel, match="at most 64 MiB expected"):
        load_base_model(path)


def test_a_link_in_circles_is_no_file(tmp_path: Path) -> None:
    """It is refused as what is missing is."""
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(UnusableModel, match="'circle' of tensor 'w0' is missing"):
        load_base_model(save(tmp_path, "circle"))
