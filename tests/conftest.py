import importlib.util
from pathlib import Path

import jax
import pytest
from fork.tree import is_out_of_date
from fork.upstream import ROOT


# As in upstream's own suite, everything must work at JAX's strictest settings.
STRICT = {"jax_numpy_rank_promotion": "raise", "jax_numpy_dtype_promotion": "strict"}
for name, value in STRICT.items():
    jax.config.update(name, value)


def pytest_sessionstart():
    spec = importlib.util.find_spec("equinox")
    tree = ROOT / "build" / "tree"
    if spec is None or spec.origin is None:
        pytest.exit("the fork is not installed, or `build/tree` is lost", 2)
    elif Path(spec.origin).is_relative_to(tree) and is_out_of_date(tree):
        pytest.exit("`build/tree` was made from other edits: run `make tree`", 2)


@pytest.fixture
def getkey():
    # Imported late, so that the types of Equinox are checked from here on.
    from equinox.internal import GetKey

    return GetKey()
