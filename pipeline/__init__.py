"""vmafx-sidecar: online training of tiny VMAF models beside an encoder node."""

import os

__version__ = "0.1.0"

# ONNX Runtime reports its use to its maker unless told not to before it is imported. Nothing here leaves the machine.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
