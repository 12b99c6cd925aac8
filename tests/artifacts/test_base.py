"""A base model from a registry: fetched once, verified, and there without the registry from then on."""

import shutil
from pathlib import Path

import pytest

from pipeline.artifacts.artifact import Artifact
from pipeline.artifacts.base import fetch, newer, place
from pipeline.artifacts.faults import RegistryFault
from pipeline.artifacts.reference import Reference
from pipeline.artifacts.signature import Signer, Trust
from pipeline.artifacts.store import Store, open_store
from pipeline.artifacts.transfer import push

ONE, TWO = (Artifact({"base.onnx": content}, {}) for content in (b"one", b"two"))


def tag(store: Store, artifact: Artifact) -> str:
    """Push an artifact and lead v1 to it."""
    digest = push(store, artifact)
    store.point("v1", digest, store.pointer("v1"))
    return digest


def test_a_tag_is_followed_at_each_start_and_kept_while_the_registry_is_away(tmp_path: Path) -> None:
    """Also where it has moved meanwhile, which is said; a digest needs no registry at all."""
    share, cache = tmp_path / "share", tmp_path / "cache"
    share.mkdir()
    reference = Reference.parse(f"{share.as_uri()}:v1")
    store = open_store(reference)
    first = tag(store, ONE)
    found = fetch(reference, cache)
    assert (found.path.read_bytes(), found.digest, found.note) == (b"one", first, "")
    assert place(reference, cache).read_bytes() == b"one"
    assert newer(reference, cache) == ""
    second = tag(store, TWO)
    assert newer(reference, cache) == second
    assert fetch(reference, cache, pinned=first).digest == first  # in the same run
    shutil.rmtree(share)
    kept = fetch(reference, cache)
    assert (kept.path.read_bytes(), kept.digest) == (b"one", first)
    assert "No such file" in kept.note
    assert newer(reference, cache) == ""
    assert fetch(reference.at(first), cache).note == ""


def test_what_was_never_fetched_cannot_be_had_without_the_registry(tmp_path: Path) -> None:
    """Nor what is not there."""
    for text in (f"{tmp_path.as_uri()}/away:v1", f"{tmp_path.as_uri()}:v1"):
        with pytest.raises(RegistryFault):
            fetch(Reference.parse(text), tmp_path / "cache")


def test_a_broken_cache_is_filled_again(tmp_path: Path) -> None:
    """Its objects, and the files beside them."""
    share, cache = tmp_path / "share", tmp_path / "cache"
    share.mkdir()
    reference = Reference.parse(f"{share.as_uri()}:v1")
    tag(open_store(reference), ONE)
    path = fetch(reference, cache).path
    path.write_bytes(b"garbage")
    for blob in (cache / "blobs" / "sha256").iterdir():
        blob.write_bytes(b"garbage")
    assert fetch(reference, cache).path.read_bytes() == b"one"


def test_a_cached_model_is_checked_against_the_key_too(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    """Unsigned: refused, though it is in the cache; signed: taken, and without the registry as well."""
    share, cache = tmp_path / "share", tmp_path / "cache"
    share.mkdir()
    reference = Reference.parse(f"{share.as_uri()}:v1")
    store, trust = open_store(reference), Trust(keys[1])
    tag(store, ONE)
    fetch(reference, cache)
    with pytest.raises(RegistryFault, match="is not signed"):
        fetch(reference, cache, trust)
    push(store, ONE, signer=Signer(keys[0]))
    assert fetch(reference, cache, trust).path.read_bytes() == b"one"
    shutil.rmtree(share)
    assert fetch(reference, cache, trust).path.read_bytes() == b"one"
