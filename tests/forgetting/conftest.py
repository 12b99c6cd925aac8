"""A server of its own for each test that wants one."""

from tests.fleet.conftest import server

__all__ = ["server"]
