"""Builds under adverse conditions: without a network, interrupted, two at once."""

import os
import shutil
import signal
import subprocess
import time

import pytest
from fork.upstream import pinned, read_pin
from test_wheel import BUILD_HERE, clean_copy


PIN = read_pin()


@pytest.fixture
def start(build_env, tmp_path):
    project = clean_copy(tmp_path / "project")

    def start(dest, **kwargs):
        command = [*map(str, [*BUILD_HERE, "--wheel", "--outdir", dest, project])]
        pipe = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return subprocess.Popen(command, env=build_env | kwargs, **pipe)  # pyright: ignore

    return start


def finish(process, dest):
    out, _ = process.communicate()
    assert process.returncode == 0, out
    [wheel] = dest.glob("*.whl")
    return wheel.read_bytes()


def test_interrupted_and_two_at_once(start, tmp_path):
    process = start(tmp_path / "0")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    process.communicate()

    processes = {tmp_path / x: start(tmp_path / x) for x in ("1", "2")}
    first, second = [finish(process, dest) for dest, process in processes.items()]
    assert first == second
    # There is no half of a wheel.
    assert all(x.read_bytes() == first for x in (tmp_path / "0").glob("*.whl"))


def test_other_version_in_build_environment(start, build_env, tmp_path):
    other = tmp_path / "site"
    shutil.copytree(pinned(PIN), other)
    info = f"equinox-{PIN.version}.dist-info"
    (other / info).rename(other / "equinox-0.13.6.dist-info")
    metadata = other / "equinox-0.13.6.dist-info" / "METADATA"
    text = metadata.read_text("utf-8").replace(
        f"Version: {PIN.version}", "Version: 0.13.6"
    )
    metadata.write_text(text, "utf-8")
    path = os.pathsep.join([str(other), build_env["PYTHONPATH"]])
    out, _ = start(tmp_path / "out", PYTHONPATH=path).communicate()
    assert "has equinox 0.13.6" in out and f"install equinox==={PIN.version}" in out
