"""ONNX models: what a base model is, which of its weights train, and how it runs."""
