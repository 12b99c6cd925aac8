"""The commands of docs/fleet.md do what the page says, as they are written there."""

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.nats import free_port, needs_nats
from tests.support.processes import REPOSITORY

LIMIT_S = 300
_PS = shutil.which("ps") or "ps"


def commands() -> list[str]:
    """Return the lines of code under the heading."""
    page = (REPOSITORY / "docs" / "fleet.md").read_text()
    section = page.split("\n## Ten commands\n")[1].split("\n## ")[0]
    return re.findall(r"^ {4}(\S.*)$", section, re.MULTILINE)


def _session(leader: int) -> str:
    """Return what is at work in a session, with what each process waits for."""
    command = [_PS, "-ww", "--forest", "-o", "pid,ppid,stat,etime,wchan:24,args", "--sid", str(leader)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@needs_nats
@pytest.mark.processes
@pytest.mark.long
def test_ten_commands(tmp_path: Path) -> None:
    """With other ports, and without installing anything, what a node sends is in the stream, and a revoked key ends."""
    lines = commands()
    assert len(lines) == 10
    assert lines[0].startswith("pip install")
    script = "set -e\n" + "\n".join(lines[1:])
    assert ":4222" in script
    port = free_port()
    script = script.replace("--host 127.0.0.1", f"--host 127.0.0.1 --port {port} --http off", 1)
    script = script.replace(":4222", f":{port}").replace("127.0.0.1:9092", "127.0.0.1:0")
    script += "\nkill $(jobs -p); wait || true\n"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VMAFX_")} | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": str(REPOSITORY),
        "VMAFX_SIDECAR_HTTP": "off",
    }
    with (tmp_path / "log").open("w") as errors:
        process = subprocess.Popen(
            ["/bin/bash", "-c", script], cwd=tmp_path, env=environment, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    try:
        told, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired as expired:
        told = (expired.stdout or b"").decode(errors="replace")
        log = (tmp_path / "log").read_text(errors="replace")
        pytest.fail(f"not done after {LIMIT_S} s\n{told}\n{log[-8000:]}\n{_session(process.pid)}")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    log = (tmp_path / "log").read_text()
    assert process.returncode == 0, log[-4000:]
    assert re.search(r"^tenant default: [1-9]\d* messages", told, re.MULTILINE), told + log[-4000:]
    assert re.search(r"^n1 +[1-9]", told, re.MULTILINE), told
    assert re.search(r"^pool-pool +\d", told, re.MULTILINE), told
    assert "default/n2: may no longer send" in told
