"""Training side by side: each member learns what it would learn alone, stops in time, and resumes exactly."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import data
from pipeline.corpus.read import load_corpus
from pipeline.corpus.table import Corpus
from pipeline.offline.ensemble import Ensemble, members
from pipeline.offline.fit import Adam, Fit, Recipe, fingerprint, resume, save

WIDTHS = (6, 16, 8, 1)
RECIPE = Recipe(0.01, epochs=4, batch_size=64)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """Return every twentieth frame of the shipped corpus."""
    return load_corpus(data.CORPUS).rows(slice(0, None, 20))


def fit(corpus: Corpus, folds: Sequence[tuple[str, ...]], recipe: Recipe = RECIPE, seeds: int = 1) -> Fit:
    """Prepare a training on the target vmaf."""
    return Fit(Ensemble(WIDTHS), members(corpus, folds, range(seeds)), corpus.features, corpus.target("vmaf"), recipe)


def test_members_compute_what_separate_networks_compute() -> None:
    """The batched forward pass equals torch.nn.Sequential with each member's weights."""
    ensemble = Ensemble(WIDTHS)
    weights = ensemble.initial([0, 1, 2])
    inputs = torch.randn(3, 10, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for i in range(3):
        modules: list[torch.nn.Module] = []
        for weight, bias in ensemble.layers(weights[i : i + 1]):
            linear = torch.nn.Linear(weight.shape[1], weight.shape[2])
            linear.weight.data, linear.bias.data = weight[0].T, bias[0, 0]
            modules += [linear, torch.nn.ReLU()]
        alone = torch.nn.Sequential(*modules[:-1])
        torch.testing.assert_close(ensemble.predict(weights, inputs)[i], alone(inputs[i])[:, 0])


def test_adam_is_torchs() -> None:
    """Ten steps on a quadratic follow torch.optim.AdamW."""
    ours = torch.tensor([[3.0, -2.0, 0.5]])
    theirs = ours.clone().requires_grad_()
    adam, reference = Adam(ours, decay=0.01), torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.01)
    for _ in range(10):
        adam.step(ours, 2 * ours, torch.tensor([[0.1]]))
        reference.zero_grad()
        theirs.square().sum().backward()  # type: ignore[no-untyped-call]
        reference.step()
    torch.testing.assert_close(ours, theirs.detach())


def test_a_member_learns_the_same_alone_and_among_others(corpus: Corpus) -> None:
    """The weights of a fold do not depend on which other folds are trained beside it."""
    folds = [(source,) for source in corpus.sources()[:3]]
    together, alone = fit(corpus, folds), fit(corpus, folds[1:2])
    for each in (together, alone):
        each.run(lambda _: None)
    torch.testing.assert_close(together.best[1], alone.best[0], rtol=1e-4, atol=1e-5)


def test_rounding_is_not_amplified(corpus: Corpus) -> None:
    """Weights that begin 1e-13 apart, as kernels that round otherwise would make them, end closer than 1e-9."""
    one, other = (fit(corpus, [()], Recipe(0.01, epochs=30, batch_size=32), seeds=4) for _ in range(2))
    other.weights *= 1 + 1e-13
    for each in (one, other):
        each.run(lambda _: None)
    assert not torch.equal(one.best, other.best)
    torch.testing.assert_close(one.best, other.best, rtol=0, atol=1e-9)


def test_training_learns(corpus: Corpus) -> None:
    """A few epochs on real frames bring the validation error to a fraction of the scores' spread."""
    training = fit(corpus, [()], Recipe(0.01, epochs=30, batch_size=64))
    training.run(lambda _: None)
    assert 100 * float(training.error[0].sqrt()) < 0.25 * float(corpus.target("vmaf").std())


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_training_stops_when_nothing_improves(corpus: Corpus, schedule: str) -> None:
    """Scores that are noise end a training early, with the weights of its best epoch."""
    noise = np.random.default_rng(0).uniform(0, 100, len(corpus)).astype(np.float32)
    recipe = Recipe(0.03, epochs=500, batch_size=64, schedule=schedule, patience=4)  # type: ignore[arg-type]
    training = Fit(Ensemble(WIDTHS), members(corpus, [()], range(2)), corpus.features, noise, recipe)
    errors: list[torch.Tensor] = []
    training.run(lambda fit: errors.append(fit.error.clone()))
    assert training.epoch < 500
    assert bool((training.waited >= 4).all())
    torch.testing.assert_close(training.error, torch.stack(errors).min(dim=0).values)
    assert bool((training.rate < 0.03).any()) == (schedule == "plateau")


def test_a_source_left_out_is_never_seen(corpus: Corpus) -> None:
    """Neither training nor validation rows of a member are of its left-out source, and they share no clip."""
    made = members(corpus, [(source,) for source in corpus.sources()], range(2))
    assert {member.left_out for member in made} == {(source,) for source in corpus.sources()}
    for member in made:
        seen = np.concatenate([member.training, member.validation])
        assert not set(corpus.source[seen]) & set(member.left_out)
        assert not set(corpus.clip[member.training]) & set(corpus.clip[member.validation])
        assert len(seen) + int(corpus.mask_of(member.left_out).sum()) == len(corpus)


class Stopped(Exception):
    """What stands for a killed process."""


def test_a_stopped_training_ends_in_the_same_weights(corpus: Corpus, tmp_path: Path) -> None:
    """Stopped after two of four epochs and resumed in a new object, the result is bit for bit the same."""
    straight, first, second = (fit(corpus, [()], seeds=2) for _ in range(3))
    straight.run(lambda _: None)
    mark = fingerprint(corpus, "vmaf", members(corpus, [()], range(2)), RECIPE, WIDTHS)
    path = tmp_path / "state.npz"

    def stop_after_two(fit: Fit) -> None:
        save(fit, path, mark)
        if fit.epoch == 2:
            raise Stopped

    with pytest.raises(Stopped):
        first.run(stop_after_two)
    assert resume(second, path, mark)
    assert second.epoch == 2
    second.run(lambda _: None)
    assert torch.equal(second.best, straight.best)
    assert torch.equal(second.error, straight.error)


@pytest.mark.parametrize("damage", ["another", "truncated", "absent"])
def test_a_state_that_does_not_fit_is_not_taken(corpus: Corpus, tmp_path: Path, damage: str) -> None:
    """The state of another training, a truncated one and none at all: training starts at its first epoch."""
    path, training = tmp_path / "state.npz", fit(corpus, [()])
    save(training, path, "another" if damage == "another" else "mine")
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    if damage == "absent":
        path.unlink()
    assert not resume(training, path, "mine")
    assert training.epoch == 0
