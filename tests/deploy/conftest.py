"""Charts of nodes that take the sidecar in."""

import shutil
from pathlib import Path

import pytest

from tests.deploy.charts import CHART

NODE_CHART = Path(__file__).parent / "node_chart"


@pytest.fixture(scope="session")
def node_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the node's chart with this one as its dependency, as `helm dependency update` leaves it."""
    chart = tmp_path_factory.mktemp("chart") / "vmafx-node"
    shutil.copytree(NODE_CHART, chart)
    shutil.copytree(CHART, chart / "charts" / CHART.name)
    return chart
