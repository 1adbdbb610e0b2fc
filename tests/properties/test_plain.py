"""Runs `plain.py`, without the type checker of this process, and on eight devices."""

import subprocess
import sys
from pathlib import Path


def test_plain():
    command = [sys.executable, Path(__file__).parent / "plain.py"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\n") == 5
