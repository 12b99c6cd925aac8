"""How registries and models in them are named."""

import pytest

from pipeline.artifacts.reference import Reference, without_secrets
from pipeline.config import ConfigError, load

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("oci://registry.example/vmaf/models", ("oci", "registry.example/vmaf/models", "", "")),
        ("oci://localhost:5000/models:v1", ("oci", "localhost:5000/models", "v1", "")),
        (f"oci+http://registry:5000/m@{DIGEST}", ("oci+http", "registry:5000/m", "", DIGEST)),
        (f"oci://r.example/m:v1@{DIGEST}", ("oci", "r.example/m", "v1", DIGEST)),
        ("s3://bucket/a/b:latest-stable", ("s3", "bucket/a/b", "latest-stable", "")),
        ("gs://bucket", ("gs", "bucket", "", "")),
        ("file:///mnt/share/models/", ("file", "/mnt/share/models", "", "")),
    ],
)
def test_references_are_read(text: str, parts: tuple[str, str, str, str]) -> None:
    """And written as they were read."""
    found = Reference.parse(text)
    assert (found.scheme, found.place, found.tag, found.digest) == parts
    assert Reference.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "", "registry.example/models", "http://registry.example/models", "oci://registry.example",
        "oci://localhost:5000", "oci://registry.example/Models", "oci://r.example/m@sha256:short", "oci://r.example/m:",
        "file://relative/path", "s3://bucket/a/../b", "s3://bucket/a?X-Amz-Signature=secret",
        "oci://user:secret@registry.example/models", "oci://r.example//m", "az://bucket/a#secret",
    ],
)  # fmt: skip
def test_others_are_refused_without_being_repeated(text: str) -> None:
    """What was given may hold a password."""
    with pytest.raises(ValueError, match="HOST/REPOSITORY") as raised:
        Reference.parse(text)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("name", ["VMAFX_REGISTRY_URL", "VMAFX_BASE_MODEL_PATH"])
@pytest.mark.parametrize("url", ["s3://key:secret@bucket/a", "az://bucket/a?sig=secret"])
def test_a_setting_with_credentials_is_refused_without_them(name: str, url: str) -> None:
    """The problem names the setting, and hides what could be a password."""
    with pytest.raises(ConfigError, match=f"{name}=.*without credentials") as raised:
        load({name: url})
    assert "secret" not in str(raised.value)
    assert "secret" not in without_secrets(url)


def test_a_registry_has_no_tag_and_a_base_model_has_one() -> None:
    """Else one would not know which model is meant."""
    for settings in ({"VMAFX_REGISTRY_URL": "s3://b/a:v1"}, {"VMAFX_BASE_MODEL_PATH": "s3://b/a"}):
        with pytest.raises(ConfigError, match="tag"):
            load(settings)
    base = load({"VMAFX_BASE_MODEL_PATH": "s3://b/a:v1"}).base_model
    assert base == Reference("s3", "b/a", "v1")
