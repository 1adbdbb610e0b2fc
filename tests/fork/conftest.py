import os
import subprocess
import sys

import pytest
from fork.upstream import pinned, read_pin


@pytest.fixture(scope="session")
def build_env(tmp_path_factory):
    """An environment that builds offline, with what is installed here."""
    tools = tmp_path_factory.mktemp("tools")
    install = [sys.executable, "-m", "pip", "install", "-q", "--target", tools]
    subprocess.run([*install, "hatchling==1.33.0"], check=True)
    path = os.pathsep.join(map(str, (pinned(read_pin()), tools)))
    return dict(os.environ, PYTHONPATH=path, PIP_NO_INDEX="1")
