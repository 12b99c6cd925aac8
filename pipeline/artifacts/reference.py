"""`Reference`: how a registry, or one model in it, is named.

    oci://host[:port]/repository            over HTTPS, except to this machine itself; oci+http:// without TLS
    s3://bucket/prefix, gs://…, az://…      an object store
    file:///path                            a directory, which may be a share

Each may be followed by `:tag` or `@sha256:digest`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Self

LATEST_STABLE = "latest-stable"
"""The tag that leads to the newest stable version."""

EXPECTED = (
    "oci://HOST/REPOSITORY, s3://BUCKET/PREFIX, gs://…, az://… or file:///PATH, with :TAG or @sha256:DIGEST where one "
    "model is meant, and without credentials"
)
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
SCHEMES = ("oci", "oci+http", "s3", "gs", "az", "file")

_URL = re.compile(r"(?P<scheme>[a-z+0-9]+)://(?P<place>[^?#@]+?)(?::(?P<tag>[^:/@]+))?(?:@(?P<digest>[^/@]+))?")
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True)
class Reference:
    """A registry (`scheme`, `place`), and the model in it that `digest` or else `tag` names; empty for none."""

    scheme: str
    place: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL. Raises ValueError, which says what was expected and repeats nothing of the text."""
        match = _URL.fullmatch(text)
        if match is None:
            raise ValueError(EXPECTED)
        scheme, place, tag, digest = match["scheme"], match["place"].rstrip("/"), match["tag"], match["digest"]
        if tag and not digest and scheme.startswith("oci") and "/" not in place and _PORT.fullmatch(tag):
            place, tag = f"{place}:{tag}", ""
        if scheme not in SCHEMES or not _is_place(scheme, place):
            raise ValueError(EXPECTED)
        if (tag and not TAG.fullmatch(tag)) or (digest and not DIGEST.fullmatch(digest)):
            raise ValueError(EXPECTED)
        return cls(scheme, place, tag or "", digest or "")

    @property
    def registry(self) -> Self:
        """The registry alone."""
        return replace(self, tag="", digest="")

    @property
    def names_a_model(self) -> bool:
        """Whether it says which model."""
        return bool(self.tag or self.digest)

    def at(self, digest: str) -> Self:
        """Return the reference to another model of the same registry."""
        return replace(self, tag="", digest=digest)

    def __str__(self) -> str:
        tag, digest = f":{self.tag}" if self.tag else "", f"@{self.digest}" if self.digest else ""
        return f"{self.scheme}://{self.place}{tag}{digest}"


def is_url(text: str) -> bool:
    """Tell whether a text is meant as a reference rather than as a path."""
    return "://" in text


def without_secrets(text: str) -> str:
    """Return a URL without what may be credentials, to be shown."""
    return re.sub(r"[?#].*$", "?…", re.sub(r"//[^/]*@", "//…@", text)) if is_url(text) else text


def _is_place(scheme: str, place: str) -> bool:
    if "\0" in place or "//" in place:
        return False
    if scheme == "file":
        return place.startswith("/")
    host, _, path = place.partition("/")
    if scheme.startswith("oci"):
        return bool(re.fullmatch(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?", host) and re.fullmatch(r"[a-z0-9._/-]+", path))
    return bool(re.fullmatch(r"[A-Za-z0-9._-]+", host)) and ".." not in path.split("/")
