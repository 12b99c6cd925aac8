"""Coordinates in which one step size fits every model."""

import numpy as np
import pytest

from pipeline.model.default_network import two_layer
from pipeline.model.graph import BaseModel, Parameter
from pipeline.trainer.learners import new_learner
from pipeline.trainer.mlp_graph import plain_mlp
from pipeline.trainer.preconditioning import raw_first_layer, scale_from
from pipeline.trainer.recipe import Recipe
from tests.support.graphs import model, node, perceptron, tensor
from tests.trainer.streams import base_model, corpus


def test_a_unit_moves_the_score_by_the_sensitivity() -> None:
    """The mean squared derivative by the coordinates is the sensitivity squared, and no weight's is out of line."""
    base = base_model()
    learner = new_learner(base, Recipe())
    features = corpus().features[:500]
    mean = learner.squared_jacobian(features, base.vector()) / 500
    scaled = mean * scale_from(mean, base.parameters, 15.0) ** 2
    assert scaled.sum() == pytest.approx(15.0**2)
    assert scaled.max() < 10 * np.median(scaled[scaled > 0])


def test_a_weight_that_does_not_matter_is_not_moved_wildly() -> None:
    """The scale of a weight without influence stays within a small factor of its tensor's others."""
    scale = scale_from(np.array([1.0, 1.0, 1.0, 0.0]), (Parameter("w", (4,), 0, 4),), 1.0)
    assert scale[3] < 5 * scale[0]
    assert np.array_equal(scale_from(np.zeros(4), (Parameter("w", (4,), 0, 4),), 1.0), np.ones(4))


@pytest.mark.parametrize(("gain", "offset"), [(1e-3, 0.0), (1e3, 0.0), (10.0, 200.0)])
def test_learning_does_not_depend_on_the_features_units(gain: float, offset: float) -> None:
    """Features in other units, with a first layer that undoes it, are learned as well: nobody has to preprocess."""
    plain = BaseModel(two_layer(6, seed=1), "plain")
    layer = raw_first_layer(plain)
    assert layer is not None
    vector = plain.vector().astype(np.float64)
    weight = slice(layer.weight.offset, layer.weight.offset + layer.weight.size)
    vector[weight] /= gain
    vector = layer.centred(vector, np.full(6, -offset))
    scaled = BaseModel(two_layer(6, seed=1), "scaled")
    scaled._vector = vector.astype(np.float32)
    rows = corpus().only("stream")
    order = np.random.default_rng(0).integers(0, len(rows), (300, 32))
    learners = [new_learner(base, Recipe()) for base in (plain, scaled)]
    for index in order:
        learners[0].calibrate(rows.features[index])
        learners[0].step(rows.features[index], rows.targets["vmaf"][index])
        learners[1].calibrate(rows.features[index] * gain + np.float32(offset))
        learners[1].step(rows.features[index] * np.float32(gain) + np.float32(offset), rows.targets["vmaf"][index])
    judge = corpus().only("judge")
    seen = (judge.features, judge.features * np.float32(gain) + np.float32(offset))
    errors = [
        np.sqrt(np.mean((learner.predict(features, learner.ema()) - judge.targets["vmaf"]) ** 2))
        for learner, features in zip(learners, seen, strict=True)
    ]
    assert errors[0] < 10
    assert errors[1] == pytest.approx(errors[0], rel=0.3)


def test_moving_keeps_the_model() -> None:
    """When the coordinates change, live and averaged weights still mean the same model."""
    base = BaseModel(two_layer(6), "fresh")
    learner = new_learner(base, Recipe())
    rows = corpus().only("stream")
    features, score = rows.features[:32], rows.targets["vmaf"][:32]
    learner.calibrate(features[:1])
    for _ in range(50):
        learner.step(features, score)
    live, averaged = learner.weights(), learner.ema()
    before = learner.predict(features, live)
    learner.calibrate(rows.features[2000:2064])
    assert np.allclose(learner.predict(features, learner.weights()), before, rtol=1e-3)
    assert np.allclose(learner.weights(), live, rtol=1e-3, atol=1e-4)
    assert np.allclose(learner.ema(), averaged, rtol=1e-3, atol=1e-4)


def test_coordinates_are_frozen_after_the_first_rows() -> None:
    """Once there were enough rows, later ones leave the coordinates alone."""
    learner = new_learner(base_model(), Recipe(calibration_rows=64))
    learner.calibrate(corpus().features[:64])
    before = learner.state()["scale"]
    learner.calibrate(10 * corpus().features[5000:6000])
    assert np.array_equal(learner.state()["scale"], before)


def test_the_literal_recipe_keeps_the_models_own_coordinates() -> None:
    """`adr-0781` descends in the weights themselves."""
    learner = new_learner(BaseModel(two_layer(6), "fresh"), Recipe.adr_0781())
    learner.calibrate(corpus().features[:64])
    assert np.array_equal(learner.state()["scale"], np.ones_like(learner.state()["scale"]))
    assert not learner.state()["origin"].any()


def test_rows_that_overflow_do_not_spoil_the_coordinates() -> None:
    """Features out of all proportion are left out of the estimate."""
    learner = new_learner(base_model(), Recipe())
    learner.calibrate(corpus().features[:32])
    before = learner.state()
    learner.calibrate(np.full((64, 6), 3e38, np.float32))
    after = learner.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_centring_is_for_models_without_standardisation() -> None:
    """A first Gemm on raw features can be centred, in either layout; one behind a standardisation is left alone."""
    assert raw_first_layer(base_model()) is None
    assert raw_first_layer(BaseModel(perceptron(), "raw")) is not None
    nodes = [node("Gemm", ["features", "w", "b"], "score")]
    turned = BaseModel(model(nodes, {"w": tensor(6, 1), "b": tensor(1)}), "turned")
    layer, shape = raw_first_layer(turned), plain_mlp(turned)
    assert layer is not None
    assert shape is not None
    features, mean = tensor(20, 6, seed=2), np.arange(6.0)
    inner = new_learner(turned, Recipe.adr_0781())
    centred = layer.centred(turned.vector().astype(np.float64), mean).astype(np.float32)
    expected = inner.predict(features, turned.vector())
    assert np.allclose(inner.predict(features - mean.astype(np.float32), centred), expected, atol=1e-5)
