"""What the text of the pull request says."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from fork.upstream import ROOT


TEXT = (ROOT / "docs" / "pull-request.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples(example):
    key = jax.random.PRNGKey(0)
    model = eqx.nn.MLP(4, 2, 8, 2, key=key)
    exec(example, dict(eqx=eqx, jax=jax, jnp=jnp, key=key, model=model))


def test_the_five_use_cases():
    assert len(EXAMPLES) == 5
    assert all("# Before" in x and "# After" in x for x in EXAMPLES)


def test_names_tests_that_exist():
    named = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", TEXT)
    assert len(named) >= 8
    for path, name in named:
        assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8")
