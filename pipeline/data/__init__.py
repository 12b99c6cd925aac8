"""What ships with the package: a small corpus of real frames and a base model (see README.md)."""

from pathlib import Path

CORPUS = Path(__file__).with_name("corpus.npz")
BASE_MODEL = Path(__file__).with_name("base_model.onnx")
