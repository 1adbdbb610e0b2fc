import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def optimisations():
    """Without most of what XLA does to a program, it takes half as long to compile.

    These tests look at shapes and errors, and at values up to a tolerance. Tests that
    look at every bit are elsewhere.
    """
    for is_left_out in (True, False):
        jax.config.update("jax_disable_most_optimizations", is_left_out)
        jax.clear_caches()
        if is_left_out:
            yield
