"""Runs what needs no type checker, eight devices, or several processes."""

import socket
import subprocess
import sys
from pathlib import Path


def test_plain():
    command = [sys.executable, Path(__file__).parent / "plain.py"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\n") == 5


def test_two_processes():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    script = Path(__file__).parent / "processes.py"
    run = lambda process: subprocess.Popen(
        [sys.executable, script, address, str(process)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    processes = [run(0), run(1)]
    try:
        for i, process in enumerate(processes):
            out, _ = process.communicate(timeout=300)
            assert process.returncode == 0 and f"process {i} is done" in out, out
    finally:
        for process in processes:
            process.kill()
