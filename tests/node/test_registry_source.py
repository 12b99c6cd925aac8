"""`CheckpointWatcher` on a registry: a node that shares no volume with a sidecar."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.artifact import BASE_SHA256, MODEL_SHA256, VERSION, Artifact, withdrawn
from pipeline.artifacts.published import mark_of, name_of
from pipeline.artifacts.reference import LATEST_STABLE, Reference
from pipeline.artifacts.signature import Signer
from pipeline.artifacts.store import open_store
from pipeline.artifacts.transfer import manifest_of, pull, push
from pipeline.node.policy import Policy
from pipeline.node.registry_source import RegistrySource
from pipeline.node.watcher import CheckpointWatcher
from tests.support.node_checkpoints import N_FEATURES, constant_model
from tests.support.registries import make_keys
from tests.support.waiting import eventually

ROW = np.full((1, N_FEATURES), 0.5, np.float32)
BASE_SCORE = 50.0


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """Make an empty registry."""
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


def point(share: Path, artifact: Artifact, signer: Signer | None = None) -> str:
    """Push an artifact, and lead latest-stable to it."""
    store = open_store(Reference.parse(share.as_uri()))
    digest = push(store, artifact, signer=signer)
    store.point(LATEST_STABLE, digest, store.pointer(LATEST_STABLE))
    return digest


def model(score: float) -> Artifact:
    """Return a model of always the same version."""
    return Artifact({"model_v000001.onnx": constant_model(score)}, {})


@contextmanager
def watching(where: str, base: Path, **options: object) -> Iterator[CheckpointWatcher]:
    """Watch a registry, with a poll that only a hint can bring forward."""
    base.write_bytes(constant_model(BASE_SCORE))
    watcher = CheckpointWatcher(where, base, **{"poll_s": 3600.0, **options})  # type: ignore[arg-type]
    try:
        yield watcher
    finally:
        watcher.close()


def becomes(watcher: CheckpointWatcher, score: float) -> None:
    """Look, and wait until the model in use gives a score."""
    watcher.hint("look")
    eventually(lambda: float(watcher.predict(ROW)[0]) == score)


def test_latest_stable_is_followed(share: Path, tmp_path: Path) -> None:
    """Nothing there, a model, another of the same version, an outage, a withdrawal: as with a directory."""
    with watching(share.as_uri(), tmp_path / "base.onnx") as watcher:
        becomes(watcher, BASE_SCORE)
        point(share, model(1))
        becomes(watcher, 1)
        point(share, model(2))
        becomes(watcher, 2)
        away = share.rename(tmp_path / "away")
        becomes(watcher, 2)
        away.rename(share)
        point(share, withdrawn("a" * 64))
        becomes(watcher, BASE_SCORE)


def test_a_digest_can_be_pinned(share: Path, tmp_path: Path) -> None:
    """Whatever latest-stable leads to."""
    first = point(share, model(1))
    point(share, model(2))
    with watching(share.as_uri(), tmp_path / "base.onnx", policy=f"pinned:{first}") as watcher:
        becomes(watcher, 1)


def test_only_what_is_signed_is_taken_where_a_key_is_given(share: Path, tmp_path: Path) -> None:
    """An unsigned model leaves the one in use."""
    private, public = make_keys(tmp_path, "key")
    with watching(share.as_uri(), tmp_path / "base.onnx", public_key=public) as watcher:
        point(share, model(1), Signer(private))
        becomes(watcher, 1)
        point(share, model(2))
        watcher.hint("look")
        point(share, model(3), Signer(private))
        becomes(watcher, 3)


def test_a_tampered_model_is_not_used(share: Path, tmp_path: Path) -> None:
    """The one before stays."""
    point(share, model(1))
    with watching(share.as_uri(), tmp_path / "base.onnx") as watcher:
        becomes(watcher, 1)
        kept = set(share.rglob("*"))
        point(share, model(2))
        for blob in set((share / "blobs" / "sha256").iterdir()) - kept:
            blob.write_bytes(bytes([blob.read_bytes()[0] ^ 1]) + blob.read_bytes()[1:])
        watcher.hint("look")
        shutil.copy(share / "tags" / f"{LATEST_STABLE}.json", tmp_path)
        assert float(watcher.predict(ROW)[0]) == 1


def versions(share: Path, *described: tuple[int, float, str], withdrawn_too: tuple[int, ...] = ()) -> list[str]:
    """Push versions, each with its score and base model, under their names; the last one is latest-stable."""
    store, digests = open_store(Reference.parse(share.as_uri())), []
    for version, score, base in described:
        onnx = constant_model(score)
        sha256 = hashlib.sha256(onnx).hexdigest()
        annotations = {VERSION: f"v{version:06d}", MODEL_SHA256: sha256, BASE_SHA256: base}
        artifact = Artifact({f"model_v{version:06d}.onnx": onnx}, annotations)
        digests.append(push(store, artifact, name_of(artifact)))
        if version in withdrawn_too:
            push(store, withdrawn(sha256), mark_of(sha256))
    store.point(LATEST_STABLE, digests[-1], store.pointer(LATEST_STABLE))
    return digests


def blob_of(share: Path, digest: str) -> Path:
    """Return the file with content of that digest."""
    return share / "blobs" / digest.replace(":", "/")


def break_model(share: Path, digest: str) -> None:
    """Change one byte of the model of an artifact."""
    (layer,) = manifest_of(open_store(Reference.parse(share.as_uri())), digest).layers
    data = blob_of(share, layer.digest).read_bytes()
    blob_of(share, layer.digest).write_bytes(bytes([data[0] ^ 1]) + data[1:])


FOUR = ((1, 1.0, "a"), (2, 2.0, "b"), (3, 3.0, "a"), (4, 4.0, "a"))


@pytest.mark.parametrize("broken", ["model", "manifest"])
def test_what_cannot_be_verified_gives_way_to_the_version_before(share: Path, tmp_path: Path, broken: str) -> None:
    """The next that is whole, was not withdrawn, and is of the same base model; a newer one is taken again."""
    digests = versions(share, *FOUR, withdrawn_too=(3,))
    if broken == "model":
        break_model(share, digests[3])
    else:
        blob_of(share, digests[3]).write_bytes(b"garbage")
    with watching(share.as_uri(), tmp_path / "base.onnx") as watcher:
        becomes(watcher, 1.0 if broken == "model" else 2.0)  # without a manifest nobody knows the base model
        versions(share, (5, 5.0, "a"))
        becomes(watcher, 5)


def test_what_gives_no_score_gives_way_to_the_version_before(share: Path, tmp_path: Path) -> None:
    """As in a directory: whole, but of no use."""
    versions(share, (1, 1.0, "a"), (2, float("nan"), "a"))
    with watching(share.as_uri(), tmp_path / "base.onnx") as watcher:
        becomes(watcher, 1)


def test_a_signed_older_version_is_taken_before_an_unsigned_newer_one(share: Path, tmp_path: Path) -> None:
    """Where a key is given, by a node that starts."""
    private, public = make_keys(tmp_path, "key")
    store = open_store(Reference.parse(share.as_uri()))
    (first,) = versions(share, (1, 1.0, "a"))
    push(store, pull(store, first), signer=Signer(private))
    versions(share, (2, 2.0, "a"))
    with watching(share.as_uri(), tmp_path / "base.onnx", public_key=public) as watcher:
        becomes(watcher, 1)


def test_a_pointer_that_is_gone_withdraws_nothing(share: Path, tmp_path: Path) -> None:
    """A registry that lost it: the model in use stays; a node that starts takes the newest version there is."""
    versions(share, *FOUR)
    with watching(share.as_uri(), tmp_path / "base.onnx") as watcher:
        becomes(watcher, 4)
        (share / "tags" / f"{LATEST_STABLE}.json").unlink()
        watcher.hint("look")
        with watching(share.as_uri(), tmp_path / "base.onnx") as another:
            becomes(another, 4)
        assert float(watcher.predict(ROW)[0]) == 4


def test_only_the_last_models_are_kept(share: Path) -> None:
    """A node that runs for long fills no disk."""
    source = RegistrySource(share.as_uri(), Policy.parse(LATEST_STABLE), None)
    for version in range(1, 31):
        versions(share, (version, float(version), "a"))
        newest = next(iter(source.candidates()))
        assert newest.name.startswith(f"model_v{version:06d}")
    kept = {path.name for path in newest.parent.iterdir()}
    source.close()
    assert len(kept) <= 20
    assert {newest.name, f"{newest.name}.sha256"} <= kept


def test_what_was_withdrawn_leaves_the_base_model(share: Path, tmp_path: Path) -> None:
    """The publisher leads the pointer to the version before, where there is one: without, older ones are not taken."""
    versions(share, *FOUR)
    with watching(share.as_uri(), tmp_path / "base.onnx") as watcher:
        becomes(watcher, 4)
        point(share, withdrawn(""))
        becomes(watcher, BASE_SCORE)


@pytest.mark.parametrize(
    ("where", "policy"),
    [
        ("oci://r.example/m", "latest"),
        ("oci://r.example/m", "pinned:3"),
        ("oci://r.example/m:v1", "latest-stable"),
        ("/models/online", f"pinned:sha256:{'a' * 64}"),
        ("http://r.example/m", "latest-stable"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(where: str, policy: str, tmp_path: Path) -> None:
    """With what was expected."""
    with pytest.raises(ValueError, match=r"expected|HOST"), watching(where, tmp_path / "base.onnx", policy=policy):
        pass
