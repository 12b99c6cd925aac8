"""What every kind of registry promises: on a directory, on docker-registry, and on S3."""

import pytest

from pipeline.artifacts.artifact import Artifact, digest_of, withdrawn
from pipeline.artifacts.faults import Moved, RegistryFault
from pipeline.artifacts.reference import Reference
from pipeline.artifacts.store import Store, open_store
from pipeline.artifacts.transfer import copy, pull, push, resolve

ONE = Artifact({"model.onnx": b"one", "model.json": b"{}"}, {"dev.vmafx.model.sha256": "1" * 64})
TWO = Artifact({"model.onnx": b"two"}, {"dev.vmafx.model.sha256": "2" * 64})


def test_what_is_pushed_comes_back_as_it_was(store: Store) -> None:
    """Under its digest and under its name; a second push changes nothing."""
    digest = push(store, ONE, "one")
    assert digest == ONE.digest
    assert pull(store, digest) == ONE
    assert push(store, ONE, "one") == digest
    assert store.names() == ["one"]
    pointer = store.pointer("one")
    assert pointer is not None
    assert pointer.digest == digest


def test_an_artifact_without_files_is_one(store: Store) -> None:
    """As the one that stands for a withdrawn model."""
    digest = push(store, withdrawn("3" * 64))
    assert pull(store, digest) == withdrawn("3" * 64)


def test_a_name_for_ever_never_moves(store: Store) -> None:
    """Whoever pushes something else under it."""
    push(store, ONE, "v1")
    push(store, TWO, "v1")
    pointer = store.pointer("v1")
    assert pointer is not None
    assert pointer.digest == ONE.digest


def test_a_pointer_moves_only_from_where_it_was_seen(store: Store) -> None:
    """Made, moved, and moved by one who has seen neither."""
    for artifact in (ONE, TWO):
        push(store, artifact)
    assert store.pointer("latest-stable") is None
    store.point("latest-stable", ONE.digest, None)
    with pytest.raises(Moved):
        store.point("latest-stable", TWO.digest, None)
    seen = store.pointer("latest-stable")
    store.point("latest-stable", TWO.digest, seen)
    with pytest.raises(Moved):
        store.point("latest-stable", ONE.digest, seen)
    moved = store.pointer("latest-stable")
    assert moved is not None
    assert moved.digest == TWO.digest


def test_what_is_not_there_is_said_to_be_lost(store: Store, url: str) -> None:
    """A digest, and a tag; and an empty registry has no names."""
    assert store.names() == []
    with pytest.raises(RegistryFault, match="is not there") as absent:
        pull(store, digest_of(b"nothing"))
    with pytest.raises(RegistryFault, match="no such tag") as unnamed:
        resolve(store, Reference.parse(f"{url}:v9"))
    assert (absent.value.kind, unnamed.value.kind) == ("lost", "lost")


def test_a_copy_is_the_same_elsewhere(store: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With the same digest."""
    other = open_store(Reference.parse(tmp_path_factory.mktemp("other").as_uri()))
    digest = push(store, ONE)
    assert copy(store, other, digest) == ONE
    assert pull(other, digest) == ONE


def test_something_else_under_a_digest_is_garbage(store: Store) -> None:
    """A manifest that is not ours is not read as one."""
    foreign = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":'
    foreign += b'"application/vnd.oci.image.config.v1+json","digest":"%s","size":2},"layers":[]}'
    foreign %= digest_of(b"{}").encode()
    store.put(digest_of(b"{}"), b"{}")
    store.put(digest_of(foreign), foreign, is_manifest=True)
    with pytest.raises(RegistryFault, match=r"holds 'application/vnd\.oci\.image\.config") as raised:
        pull(store, digest_of(foreign))
    assert raised.value.kind == "garbage"


@pytest.mark.parametrize("name", ["../up.onnx", "/etc/passwd", "a/b.onnx", ".hidden", "", "x" * 200])
def test_a_file_with_a_path_for_a_name_is_refused(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """Before anything of it is fetched."""
    store = open_store(Reference.parse(tmp_path_factory.mktemp("share").as_uri()))
    with pytest.raises(RegistryFault, match="cannot be taken") as raised:
        push(store, Artifact({name: b"x"}, {}))
    assert raised.value.kind == "garbage"
