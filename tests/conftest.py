import jax
import pytest


# As in upstream's own suite, everything must work at JAX's strictest settings.
STRICT = {"jax_numpy_rank_promotion": "raise", "jax_numpy_dtype_promotion": "strict"}
for name, value in STRICT.items():
    jax.config.update(name, value)


@pytest.fixture
def getkey():
    # Imported late, so that the types of Equinox are checked from here on.
    from equinox.internal import GetKey

    return GetKey()
