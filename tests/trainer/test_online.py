"""Online training on real frames."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.corpus.table import Corpus
from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel
from pipeline.runtime.health import UNLIKE_RMSE, UNLIKE_ROWS
from pipeline.shm.rows import RowBatch
from pipeline.trainer.recipe import Recipe
from tests.trainer.streams import Stream, corpus, group_of, names, put, rmse_of

STREAM, JUDGE = corpus().only("stream"), corpus().only("judge")


def trained_batches(stream: Stream) -> list[RowBatch]:
    """Record a copy of every batch that `stream` trains on from now on."""
    batches: list[RowBatch] = []
    step: Callable[[RowBatch], None] = stream.training._step

    def record(batch: RowBatch) -> None:
        batches.append(batch.select(np.arange(len(batch))))
        step(batch)

    stream.training._step = record  # type: ignore[method-assign]
    return batches


def test_learns_a_shifted_target() -> None:
    """After 4,000 frames, what would be exported predicts unseen sources several times better than the base model."""
    stream = Stream()
    before = stream.rmse(JUDGE, "vmaf_phone")
    stream.feed(STREAM, "vmaf_phone", 4000)
    assert before > 10
    assert stream.rmse(JUDGE, "vmaf_phone") < before / 4


def test_does_no_harm_where_there_is_nothing_to_learn() -> None:
    """Where the base model is right already, it is not made much worse on unseen sources at any time."""
    stream = Stream()
    before = stream.rmse(JUDGE, "vmaf")
    for first in range(0, 4000, 500):
        stream.feed(STREAM, "vmaf", 500, first)
        assert stream.rmse(JUDGE, "vmaf") < before + 1.0


@pytest.mark.parametrize(
    ("features", "target", "unlike"), [([5, 4, 3, 2, 1, 0], "vmaf", True), (None, "vmaf_phone", False)]
)
def test_the_base_models_own_error_tells_features_in_another_order(
    features: list[int] | None, target: str, unlike: bool
) -> None:
    """It is absurd there, and far from that where only the target is another."""
    sent = STREAM if features is None else replace(STREAM, features=STREAM.features[:, features])
    stream = Stream()
    stream.feed(sent, target, 600)
    figures = stream.training.report()
    assert figures["prequential_rows"] == 600 >= UNLIKE_ROWS
    assert (figures["prequential_base_rmse"] > UNLIKE_RMSE) == unlike


def test_learns_from_scratch() -> None:
    """A fresh network learns the frames' scores from nothing."""
    stream = Stream(Recipe.from_scratch(), base=BaseModel(two_layer(6), "fresh"))
    stream.feed(STREAM, "vmaf", 5000)
    assert stream.rmse(JUDGE, "vmaf") < 0.3 * float(JUDGE.targets["vmaf"].std())


def test_every_new_row_is_trained_on_as_new() -> None:
    """Each row that is not held out is in the batch that follows its arrival, whatever the rows come in."""
    stream = Stream()
    batches = trained_batches(stream)
    sent = 0
    for count in (1, 2, 40, 7, 100, 16, 33):
        rows = STREAM.rows(slice(sent, sent + count))
        put(stream.ring, rows.features, rows.targets["vmaf"], names(1, held_out=False))
        assert stream.training.advance(1000) == count
        sent += count
    trained = {int(sequence) for batch in batches for sequence in batch.sequence}
    assert trained == set(range(sent))
    assert stream.training.advance(1000) == 0


def test_without_replay_there_is_one_step_for_each_batch_of_new_rows() -> None:
    """Where processor time is short, further steps are left out, and no row is."""
    stream = Stream()
    batches = trained_batches(stream)
    put(stream.ring, STREAM.features[:160], STREAM.targets["vmaf"][:160], names(1, held_out=False))
    stream.training.advance(160, replay=False)
    assert len(batches) == 10
    assert {int(sequence) for batch in batches for sequence in batch.sequence} == set(range(160))


def test_held_out_groups_are_never_trained_on() -> None:
    """No batch, new or replayed, ever has a row of a held-out group; the hold-out has only these."""
    stream = Stream()
    batches = trained_batches(stream)
    sent = [*names(4, held_out=True), *names(6, held_out=False)]
    stream.feed(STREAM, "vmaf", 2000, groups=sent)
    trained = {int(group) for batch in batches for group in batch.group}
    held = {int(group) for group in stream.holdout.snapshot().group}
    assert {group_of(name) for name in names(4, held_out=True)} <= held
    assert trained.isdisjoint(held)
    assert trained | held == {group_of(name) for name in sent}


def test_rows_evicted_before_they_were_observed_are_counted() -> None:
    """A trainer that falls behind goes on with the oldest row there is, and says how many it missed."""
    stream = Stream(capacity=128)
    put(stream.ring, STREAM.features[:500], STREAM.targets["vmaf"][:500])
    assert stream.training.advance(1000) == 128
    assert stream.training.evicted_untrained == 372
    assert stream.training.cursor == 500


def test_resumes_identically() -> None:
    """A training restored from its state goes on bit by bit like the one that was not interrupted."""
    stream = Stream()
    stream.feed(STREAM, "vmaf_phone", 700)
    stream.training.set_stable(stream.training.export_vector())
    stable = stream.training.export_vector()
    meta, vectors = stream.training.state()
    memory = stream.reservoir.snapshot(), stream.holdout.snapshot()
    stream.feed(STREAM, "vmaf_phone", 500, 700)
    expected = stream.training.export_vector(), stream.training.report()

    other = Stream()
    put(other.ring, STREAM.features[:700], STREAM.targets["vmaf_phone"][:700], list(STREAM.source[:700]))
    for row in range(0, 700, 16):  # the groups take turns within each chunk, as they did above
        chunk = slice(row, min(row + 16, 700))
        other.ring.rows[row : chunk.stop] = stream.ring.rows[chunk]
    other.reservoir.restore(memory[0].words, 1, 1)
    other.holdout.restore(memory[1].words, 1, 1)
    other.training.restore(meta, vectors)
    other.training.set_stable(stable)
    other.feed(STREAM, "vmaf_phone", 500, 700)
    assert np.array_equal(other.training.export_vector(), expected[0])
    assert other.training.report() == expected[1]


def test_a_poisoned_row_does_not_reach_the_weights() -> None:
    """Features that overflow the model undo the steps that draw them, which are counted; training goes on."""
    stream = Stream()
    stream.feed(STREAM, "vmaf_phone", 1000)
    poison = np.full((3, 6), 3e38, np.float32)
    put(stream.ring, poison, np.zeros(3, np.float32), names(3, held_out=False))
    stream.feed(STREAM, "vmaf_phone", 2000, 1000)
    assert stream.training.report()["steps_undone"] >= 1
    assert np.isfinite(stream.training.export_vector()).all()
    assert stream.rmse(JUDGE, "vmaf_phone") < 4


def test_a_tenth_of_random_scores_is_weathered() -> None:
    """With a tenth of the scores drawn at random, the shifted target is still learned."""
    rng = np.random.default_rng(0)
    score = STREAM.targets["vmaf_phone"].copy()
    wrong = rng.random(len(score)) < 0.1
    score[wrong] = rng.uniform(0, 100, int(wrong.sum()))
    poisoned = Corpus(**{**vars_of(STREAM), "targets": {"vmaf_phone": score}})
    stream = Stream()
    stream.feed(poisoned, "vmaf_phone", 5000)
    assert stream.rmse(JUDGE, "vmaf_phone") < 4


def vars_of(rows: Corpus) -> dict[str, Any]:
    """Return the fields of a corpus."""
    return {name: getattr(rows, name) for name in rows.__dataclass_fields__}


def test_a_long_burst_of_one_source_is_not_all_there_is() -> None:
    """After the ring was filled with one source alone, the others are predicted about as well as before."""
    stream = Stream(capacity=1024)
    stream.feed(STREAM, "vmaf_phone", 5000)
    before = stream.rmse(JUDGE, "vmaf_phone")
    one = STREAM.rows(STREAM.source == "life")
    for _ in range(2):
        stream.feed(one, "vmaf_phone", len(one), groups=names(1, held_out=False))
    assert stream.rmse(JUDGE, "vmaf_phone") < before + 0.5


def test_reports_every_model_on_both_kinds_of_rows() -> None:
    """The report has error and correlations of EMA, base and stable model, prequential and held out; all finite."""
    stream = Stream()
    stream.feed(STREAM, "vmaf_phone", 1504, groups=[*names(4, held_out=True), *names(12, held_out=False)])
    stream.training.set_stable(stream.training.export_vector())
    stream.feed(STREAM, "vmaf_phone", 496, 1504, groups=[*names(4, held_out=True), *names(12, held_out=False)])
    assert not stream.training.evaluate()
    report = stream.training.report()
    for kind in ("prequential", "held_out"):
        for model in ("ema", "base", "stable"):
            for figure in ("rmse", "plcc", "srocc"):
                assert np.isfinite(report[f"{kind}_{model}_{figure}"])
        assert report[f"{kind}_ema_rmse"] < report[f"{kind}_base_rmse"]
    assert report["rows_held_out"] == 500
    assert report["cursor"] == 2000


def test_a_changed_target_is_noticed() -> None:
    """When the scores' meaning changes, the drift detector counts an event; before that, none."""
    stream = Stream()
    stream.feed(STREAM, "vmaf", 5000)
    assert stream.training.report()["drift_events"] == 0
    stream.feed(STREAM, "vmaf_phone", 2000, 5000)
    assert stream.training.report()["drift_events"] == 1


def test_bad_live_weights_are_replaced_by_the_stable_ones() -> None:
    """When the live weights stay far worse than the last stable ones, training starts over from these."""
    stream = Stream()
    groups = [*names(1, held_out=True), *names(3, held_out=False)]
    stream.feed(STREAM, "vmaf_phone", 2000, groups=groups)
    stable = stream.training.export_vector()
    stream.training.set_stable(stable)
    assert not any(stream.training.evaluate() for _ in range(5))
    stream.training.learner.reset(stable * 2)
    assert [stream.training.evaluate() for _ in range(3)] == [False, False, True]
    assert stream.training.report()["rollbacks"] == 1
    assert rmse_of(stream.training, stream.training.export_vector(), JUDGE, "vmaf_phone") < 4


def test_the_literal_recipe_runs() -> None:
    """`adr-0781` learns next to nothing in its first thousands of rows, which is what it is there to show."""
    stream = Stream(Recipe.adr_0781())
    before = stream.rmse(JUDGE, "vmaf_phone")
    stream.feed(STREAM, "vmaf_phone", 2000, groups=names(4, held_out=False))
    assert stream.rmse(JUDGE, "vmaf_phone") > 0.9 * before


def test_a_plain_perceptron_needs_no_torch() -> None:
    """The trainer of the shipped model never imports torch, which would triple its memory."""
    code = (
        "import sys; from tests.trainer.streams import Stream, corpus; stream = Stream();"
        "stream.feed(corpus(), 'vmaf', 100); stream.training.evaluate(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_slow_stream_learns_from_its_first_rows(rows: int) -> None:
    """However few rows come, each is a step at once, and nothing breaks."""
    stream = Stream(base=BaseModel(two_layer(6), "fresh"))
    put(stream.ring, STREAM.features[:rows], STREAM.targets["vmaf"][:rows], names(1, held_out=False))
    stream.training.advance(10)
    assert stream.training.report()["step"] >= rows
    assert np.isfinite(stream.training.export_vector()).all()
