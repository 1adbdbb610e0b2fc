import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def optimisations():
    """Without most of what XLA does to a program, it takes half as long to compile.

    These tests look at shapes and errors, and at values up to a tolerance. Tests that
    look at every bit are elsewhere.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    jax.clear_caches()
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()
