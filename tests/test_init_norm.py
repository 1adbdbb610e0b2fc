import equinox as eqx
import jax.nn.initializers as jinit
import jax.numpy as jnp
import numpy as np
import pytest


init = eqx.nn.init
norms = pytest.mark.parametrize(
    "make, shape",
    [
        (lambda **kwargs: eqx.nn.LayerNorm((2, 3), **kwargs), (2, 3)),
        (lambda **kwargs: eqx.nn.GroupNorm(2, 6, **kwargs), (6,)),
        (lambda **kwargs: eqx.nn.RMSNorm(6, **kwargs), (6,)),
        (lambda **kwargs: eqx.nn.BatchNorm(6, "b", mode="batch", **kwargs), (6,)),
    ],
)


@norms
def test_norm(make, shape, getkey):
    default = make(key=getkey())
    assert (default.weight == 1).all() and (default.bias == 0).all()
    given = make(weight_init=init.zeros, bias_init=jinit.constant(2.0))
    assert (given.weight == 0).all() and (given.bias == 2).all()
    assert given.weight.shape == given.bias.shape == shape
    normal = dict(weight_init=init.normal(), bias_init=init.normal(), key=getkey())
    drawn = make(**normal, dtype=jnp.float16)
    assert drawn.weight.dtype == drawn.bias.dtype == jnp.float16
    assert not np.array_equal(drawn.weight, drawn.bias)
    for name in ("weight_init", "bias_init"):
        with pytest.raises(TypeError) as e:
            make(**{name: init.normal()})
        if hasattr(e.value, "__notes__"):  # Python >= 3.11
            note = "".join(e.value.__notes__)
            assert f"`{name}` was called" in note and "no `key` was given" in note


def test_embedding(getkey):
    key = getkey()
    initialiser = jinit.variance_scaling(1.0, "fan_in", "normal")
    embedding = eqx.nn.Embedding(30, 4, weight_init=initialiser, key=key)
    assert (embedding.weight == initialiser(key, (30, 4), jnp.float32)).all()
    default = eqx.nn.Embedding(30, 4, key=key)
    assert eqx.tree_equal(eqx.nn.Embedding(30, 4, weight_init=None, key=key), default)
    embedding = eqx.nn.Embedding(30, 4, dtype=jnp.float16, weight_init=init.ones)
    assert embedding.weight.dtype == jnp.float16 and (embedding.weight == 1).all()
    with pytest.raises(ValueError, match="key="):
        eqx.nn.Embedding(30, 4)
    weight = jnp.ones((30, 4))
    with pytest.raises(ValueError, match="both `weight` and `weight_init`"):
        eqx.nn.Embedding(weight=weight, weight_init=init.zeros)
