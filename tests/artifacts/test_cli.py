"""`vmafx-sidecar registry` with registries elsewhere."""

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from pipeline.artifacts.cli import registry
from pipeline.checkpoints.checkpoint import rewrite
from pipeline.checkpoints.names import file_of
from pipeline.data import BASE_MODEL
from tests.support.checkpoints import publish_one
from tests.support.registries import make_keys


def run(*arguments: str | Path) -> tuple[int, str]:
    """Call the command; exit status and all output."""
    result = CliRunner().invoke(registry, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_a_base_model_goes_there_and_back(url: str, tmp_path: Path) -> None:
    """Pushed under a tag, listed, verified, pulled: the same bytes, with its card."""
    status, said = run("push", BASE_MODEL, f"{url}:v1")
    assert (status, said.startswith(f"{url}@sha256:")) == (0, True)
    status, listed = run("list", url)
    assert status == 0
    assert [line.split()[0].split("-")[0] for line in listed.splitlines()] == ["model", "v1"]
    assert run("verify", url) == (0, "2 models are intact\n")
    (tmp_path / "here").mkdir()
    assert run("pull", said.strip(), tmp_path / "here") == (0, f"{tmp_path}/here/base_model.onnx\n")
    assert (tmp_path / "here" / "base_model.onnx").read_bytes() == BASE_MODEL.read_bytes()
    assert (tmp_path / "here" / "base_model.md").read_bytes() == BASE_MODEL.with_suffix(".md").read_bytes()


def test_a_checkpoint_takes_its_card_along(url: str, tmp_path: Path) -> None:
    """Which says what the gate has said of it, and where it comes from."""
    made = publish_one(tmp_path)
    rewrite(tmp_path, msgspec.structs.replace(made, origin="oci://fleet.example/m@sha256:1"))
    assert run("push", file_of(tmp_path, 1), f"{url}:latest-stable")[0] == 0
    (tmp_path / "here").mkdir()
    assert run("pull", url, tmp_path / "here")[0] == 0
    card = (tmp_path / "here" / "model_v000001.md").read_text()
    assert "stable: Because." in card
    assert "comes from `oci://fleet.example/m@sha256:1`" in card
    assert (tmp_path / "here" / "model_v000001.onnx").read_bytes() == file_of(tmp_path, 1).read_bytes()


def test_pull_replaces_nothing(tmp_path: Path) -> None:
    """The same file may be there; another one of that name stays, and is named."""
    (tmp_path / "share").mkdir()
    url = f"{(tmp_path / 'share').as_uri()}:v1"
    run("push", BASE_MODEL, url)
    assert run("pull", url, tmp_path)[0] == 0
    assert run("pull", url, tmp_path)[0] == 0
    (tmp_path / "base_model.onnx").write_bytes(b"mine")
    status, said = run("pull", url, tmp_path)
    assert (status, said) == (1, f"Error: {tmp_path}/base_model.onnx: is there already, with other content\n")
    assert (tmp_path / "base_model.onnx").read_bytes() == b"mine"


def test_one_byte_changed_is_refused_by_name(tmp_path: Path) -> None:
    """In each object of the registry, in turn."""
    share = tmp_path / "share"
    share.mkdir()
    url = share.as_uri()
    assert run("push", BASE_MODEL, f"{url}:v1")[0] == 0
    objects = [path for path in share.rglob("*") if path.is_file() and "blobs" in path.parts]
    assert len(objects) == 6  # model, digest, sidecar, card, nothing, manifest
    for path in objects:
        good = path.read_bytes()
        path.write_bytes(bytes([good[0] ^ 1]) + good[1:])
        status, said = run("verify", f"{url}:v1")
        if good == b"{}":
            assert status == 0  # what the manifest calls its configuration, which nobody reads
        else:
            assert status == 1
            assert f"sha256:{path.name}: its content has the digest" in said
            assert run("pull", f"{url}:v1", tmp_path)[0] == 1
            assert not (tmp_path / "base_model.onnx").exists()
        path.write_bytes(good)


def test_only_what_the_key_has_signed_is_taken(url: str, tmp_path: Path, keys: tuple[Path, Path]) -> None:
    """Unsigned, signed by another key, signed: and where no key is given, all are taken."""
    private, public = keys
    stranger, _ = make_keys(tmp_path, "stranger")
    publish_one(tmp_path, seed=1)
    publish_one(tmp_path, seed=2)
    assert run("push", file_of(tmp_path, 1), f"{url}:unsigned")[0] == 0
    assert run("push", file_of(tmp_path, 2), f"{url}:strange", "--sign-key", stranger)[0] == 0
    assert run("push", BASE_MODEL, f"{url}:signed", "--sign-key", private)[0] == 0
    assert "is not signed" in run("pull", f"{url}:unsigned", tmp_path, "--public-key", public)[1]
    assert "its signature is not by" in run("pull", f"{url}:strange", tmp_path, "--public-key", public)[1]
    assert run("pull", f"{url}:signed", tmp_path, "--public-key", public)[0] == 0
    assert run("verify", url)[0] == 0
    assert run("verify", url, "--public-key", public)[0] == 1


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    """In one line, with how to make one."""
    (tmp_path / "key.pem").write_bytes(content)
    status, said = run("push", BASE_MODEL, tmp_path.as_uri(), "--sign-key", tmp_path / "key.pem")
    assert status == 1
    assert said.count("\n") == 1
    assert "openssl genpkey" in said


def test_a_directory_is_what_it_was(tmp_path: Path) -> None:
    """`list` and `verify` of a path are about its registry.json."""
    assert "base_model.onnx" in run("list", BASE_MODEL.parent)[1]
    assert run("verify", BASE_MODEL.parent) == (0, "1 model is intact\n")
    assert "registry.json: no such file" in run("verify", tmp_path)[1]
