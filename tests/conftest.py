import jax
import pytest


# As in upstream's own suite, everything must work at JAX's strictest settings.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def getkey():
    # Imported late, so that the types of Equinox are checked from here on.
    import equinox.internal as eqxi

    return eqxi.GetKey()
