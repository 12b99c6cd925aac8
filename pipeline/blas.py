"""What OpenBLAS, which multiplies matrices for numpy, has to be told before it is loaded."""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_AVX512 = frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})


def environment(cpuinfo: Path = _CPUINFO) -> dict[str, str]:
    """Return the environment variables that suit the trainer's small matrices on the processor that `cpuinfo` tells of.

    One thread: more would only spin, on cores that are the encoder's. On AMD's processors with AVX-512 the kernels for
    it, which OpenBLAS takes by itself only where it knows the model: on a newer one it falls back to AVX2's.
    """
    chosen = {"OMP_NUM_THREADS": "1"}
    vendor, flags = _processor(cpuinfo)
    if vendor == "AuthenticAMD" and flags >= _AVX512:
        chosen["OPENBLAS_CORETYPE"] = "SkylakeX"
    return chosen


def _processor(cpuinfo: Path) -> tuple[str, frozenset[str]]:
    """Return the vendor and the features of the first processor, "" and none where the file does not tell."""
    try:
        first = cpuinfo.read_text(errors="replace").partition("\n\n")[0]
    except OSError:
        return "", frozenset()
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    return fields.get("vendor_id", ""), frozenset(fields.get("flags", "").split())
