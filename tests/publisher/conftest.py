"""Every kind of registry, as in the tests of registries."""

from tests.artifacts.conftest import store, url

__all__ = ["store", "url"]
