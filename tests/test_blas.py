"""What OpenBLAS is told: kernels that the processor has, and that it would not find itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import blas

_AVX512 = "avx512f avx512dq avx512cd avx512bw avx512vl"
_PROCESSOR = "processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: a processor\nflags\t\t: fpu sse2 avx2 {flags}\n\n"


@pytest.mark.parametrize(
    ("vendor", "flags", "kernels"),
    [
        ("AuthenticAMD", _AVX512, "SkylakeX"),
        ("AuthenticAMD", _AVX512.replace("avx512vl", ""), None),
        ("AuthenticAMD", "", None),
        ("GenuineIntel", _AVX512, None),
    ],
)
def test_kernels_are_named_where_openblas_would_not_find_them(
    tmp_path: Path, vendor: str, flags: str, kernels: str | None
) -> None:
    """Only on AMD's processors, and only where they have all that those kernels use."""
    file = tmp_path / "cpuinfo"
    file.write_text(2 * _PROCESSOR.format(vendor=vendor, flags=flags))
    assert blas.environment(file).get("OPENBLAS_CORETYPE") == kernels


@pytest.mark.parametrize("content", [None, b"", b"CPU implementer\t: 0x41\nFeatures\t: fp asimd\n", b"\xff\xfe\x00:\n"])
def test_a_processor_that_tells_nothing_gets_openblas_own_choice(tmp_path: Path, content: bytes | None) -> None:
    """On another architecture, and where there is no such file, only the number of threads is set."""
    file = tmp_path / "cpuinfo"
    if content is not None:
        file.write_bytes(content)
    assert blas.environment(file) == {"OMP_NUM_THREADS": "1"}


def test_numpy_computes_with_what_this_machine_gets() -> None:
    """A kernel that the processor lacks would end the process at the first product."""
    program = "import numpy as np; print(np.ones((32, 80), np.float32).dot(np.ones((80, 64), np.float32)).sum())"
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | blas.environment(), capture_output=True, text=True, check=True
    )
    assert float(done.stdout) == 32 * 80 * 64
