"""What an answer says of a checkpoint."""

import json
from pathlib import Path

import pytest

from pipeline import config
from pipeline.ingest.answers import AnswerPrefix
from pipeline.protocol import accepted
from pipeline.runtime import regions
from pipeline.runtime.reports import ExporterReport, Reporter

DIRECTORY = Path("/models")


@pytest.mark.parametrize("gone", ["", "/elsewhere/model_v000003.onnx"])
def test_what_is_withdrawn_or_lies_elsewhere_is_not_announced(instance: str, gone: str) -> None:
    """The answer then has no checkpoint at all, rather than an empty one."""
    board = regions.open_board(config.load({"VMAFX_SIDECAR_INSTANCE": instance}))
    exporter = Reporter(board, "exporter", ExporterReport)
    answers = AnswerPrefix(board, DIRECTORY)

    def announced(path: str) -> dict[str, object]:
        exporter.report.announced = path
        exporter.publish()
        answers.refresh()
        answer: dict[str, object] = json.loads(answers.announce(accepted(answers.plain, ["job"])))
        return answer

    told = announced("/models/model_v000002.onnx")
    assert told["checkpoint"] == "/models/model_v000002.onnx"
    assert "checkpoint" not in announced(gone)
