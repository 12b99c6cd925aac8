"""Whether a clip model with attention is worth having beside frame models: `python -m benchmarks.clip_models CORPUS`.

A subjective score is one a clip. Three networks of the same hidden layers learn such scores: a frame model that learns
its clip's score in every frame, the same with the loss on the mean of a clip, and one that weights the frames of a clip
by an attention of its own. Sources are left out in turn, a quarter at a time. Real opinions are not at hand: the scores
are three ways to pool a score of libvmaf, from the plain mean to the worst tenth, which viewers are said to remember.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from pipeline import data
from pipeline.corpus.read import load_corpus
from pipeline.corpus.table import Corpus
from pipeline.model.accuracy import plcc, rmse
from pipeline.model.operators import IR_VERSION, OPSET, check_allowed

HIDDEN = (16, 8)
FOLDS, STEPS, CLIPS_A_STEP, SEEDS = 4, 600, 64, (0, 1)
LONGEST = 64  # frames of a clip

Array = npt.NDArray[np.float32]

POOLS: dict[str, Callable[[Array], float]] = {
    "mean": lambda score: float(score.mean()),
    "harmonic mean": lambda score: float(1 / np.mean(1 / (score + 1.0)) - 1),
    "worst tenth": lambda score: float(np.sort(score)[: max(1, len(score) // 10)].mean()),
}
"""How a clip's score is made of its frames'; the harmonic mean as libvmaf has it."""


class Clips:
    """A corpus by clip: features [clips, frames, k], standardised, and a mask [clips, frames] of the frames it has."""

    def __init__(self, corpus: Corpus, score: Array) -> None:
        numbers, first = np.unique(corpus.clip, return_index=True)
        rows = [np.flatnonzero(corpus.clip == number)[:LONGEST] for number in numbers]
        self.mean, self.std = corpus.features.mean(axis=0), corpus.features.std(axis=0)
        shape = (len(rows), LONGEST)
        features, mask = np.zeros((*shape, corpus.features.shape[1]), np.float32), np.zeros(shape, np.float32)
        for place, own in enumerate(rows):
            features[place, : len(own)] = (corpus.features[own] - self.mean) / self.std
            mask[place, : len(own)] = 1
        self.features, self.mask = torch.from_numpy(features), torch.from_numpy(mask)
        self.source = corpus.source[first]
        self.scores = {name: np.array([pool(score[own]) for own in rows], np.float32) for name, pool in POOLS.items()}


class Network(nn.Module):
    """Gives each frame a value and, for attention, a weight."""

    def __init__(self, n_features: int, seed: int, *, attention: bool) -> None:
        super().__init__()
        torch.manual_seed(seed)
        sizes = (n_features, *HIDDEN)
        layers = [layer for i in range(len(HIDDEN)) for layer in (nn.Linear(sizes[i], sizes[i + 1]), nn.ReLU())]
        self.hidden, self.last = nn.Sequential(*layers), nn.Linear(HIDDEN[-1], 2 if attention else 1)
        self.attention = attention

    def frames(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return each frame's value, and its weight, which add up to 1 over a clip; [clips, frames]."""
        out = self.last(self.hidden(features))
        logit = out[..., 1] if self.attention else torch.zeros_like(out[..., 0])
        return out[..., 0], torch.softmax(logit.masked_fill(mask == 0, -torch.inf), dim=1)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return the scores / 100 of clips."""
        value, weight = self.frames(features, mask)
        return (value * weight).sum(1)


def trained(clips: Clips, score: Array, seen: npt.NDArray[np.intp], kind: str, seed: int) -> Network:
    """Train on some clips: Adam, its rate falling to nothing by a cosine."""
    network = Network(clips.features.shape[2], seed, attention=kind == "attention")
    target, random = torch.from_numpy(score) / 100, np.random.default_rng(seed)
    adam = torch.optim.Adam(network.parameters(), 0.01)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(adam, STEPS)
    for _ in range(STEPS):
        batch = torch.from_numpy(random.choice(seen, min(CLIPS_A_STEP, len(seen)), replace=False))
        features, mask = clips.features[batch], clips.mask[batch]
        if kind == "every frame":
            value, weight = network.frames(features, mask)
            loss = ((value - target[batch, None]).square() * weight).sum(1).mean()
        else:
            loss = (network(features, mask) - target[batch]).square().mean()
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
        fall.step()
    return network


def exported(network: Network, clips: Clips) -> bytes:
    """Return the model of one clip, features [frames, k] to one score, in libvmaf's operators only."""
    linear = [layer for layer in (*network.hidden, network.last) if isinstance(layer, nn.Linear)]
    constants = {"mean": clips.mean, "std": clips.std, "hundred": np.float32([100]), "zero": np.array([0], np.int64)}  # type: ignore[arg-type]
    nodes = [helper.make_node("Sub", ["features", "mean"], ["c"]), helper.make_node("Div", ["c", "std"], ["x0"])]
    for i, layer in enumerate(linear):
        constants |= {f"w{i}": layer.weight.detach().numpy(), f"b{i}": layer.bias.detach().numpy()}
        output = f"y{i}" if i < len(HIDDEN) else "out"
        nodes.append(helper.make_node("Gemm", [f"x{i}", f"w{i}", f"b{i}"], [output], transB=1))
        nodes += [helper.make_node("Relu", [output], [f"x{i + 1}"])] if i < len(HIDDEN) else []
    constants |= {"one": np.array([1], np.int64), "places": np.array([0, 1], np.int64)}
    if network.attention:
        nodes += [
            helper.make_node("Gather", ["out", "zero"], ["value"], axis=1),
            helper.make_node("Gather", ["out", "one"], ["logit"], axis=1),
            helper.make_node("Softmax", ["logit"], ["weight"], axis=0),
            helper.make_node("Mul", ["value", "weight"], ["part"]),
            helper.make_node("ReduceSum", ["part", "places"], ["sum"], keepdims=0),
        ]
    else:
        nodes.append(helper.make_node("ReduceMean", ["out"], ["sum"], keepdims=0))
    nodes.append(helper.make_node("Mul", ["sum", "hundred"], ["score"]))
    used = {name for each in nodes for name in each.input}
    graph = helper.make_graph(
        nodes,
        "clip",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["frames", len(clips.mean)])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in constants.items() if n in used],
    )
    opset = helper.make_operatorsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    check_allowed(model, "clip")
    return bytes(model.SerializeToString())


def latency(model: bytes, frames: Array) -> float:
    """Return the median time of one clip, in microseconds."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    taken = []
    for _ in range(2000):
        began = time.perf_counter_ns()
        session.run(None, {"features": frames})
        taken.append(time.perf_counter_ns() - began)
    return float(np.median(taken[200:])) / 1000


def rows(corpus: Corpus, target: str) -> Iterator[str]:
    """Yield the lines of the table."""
    clips = Clips(corpus, corpus.target(target))
    sources = np.random.default_rng(0).permutation(np.unique(clips.source))
    for pool, score in clips.scores.items():
        for kind in ("every frame", "mean of a clip", "attention"):
            errors, correlations = [], []
            for seed in SEEDS:
                predicted = np.zeros_like(score)
                for fold in range(FOLDS):
                    judged = np.isin(clips.source, sources[fold::FOLDS])
                    network = trained(clips, score, np.flatnonzero(~judged), kind, seed)
                    with torch.no_grad():
                        predicted[judged] = 100 * network(clips.features[judged], clips.mask[judged]).numpy()
                errors.append(rmse(predicted, score))
                correlations.append(plcc(predicted, score))
            model = exported(network, clips)
            frames = (clips.features[0][clips.mask[0] > 0].numpy() * clips.std + clips.mean).astype(np.float32)
            yield (
                f"| {pool} | {kind} | {' · '.join(f'{error:.3f}' for error in errors)} | "
                f"{' · '.join(f'{each:.4f}' for each in correlations)} | "
                f"{latency(model, frames):.1f} | {len(model):,} |"
            )


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    corpus = load_corpus(Path(sys.argv[1]) if len(sys.argv) > 1 else data.CORPUS)
    print("| score of a clip | learned from | RMSE, of two seeds | PLCC | µs a clip | bytes |")
    print("|---|---|---|---|---|---|")
    for line in rows(corpus, "vmaf"):
        print(line, flush=True)


if __name__ == "__main__":
    main()
