"""vmafx-sidecar: online training of tiny VMAF models beside an encoder node."""

__version__ = "0.1.0"
