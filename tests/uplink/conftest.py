"""A server for each test that wants one, as in the tests of the fleet."""

from tests.fleet.conftest import server

__all__ = ["server"]
