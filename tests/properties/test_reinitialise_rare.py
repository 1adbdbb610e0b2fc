"""What `reinitialise` rarely meets, but what was broken once."""

import functools as ft
import unittest.mock
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jrandom
import jax.tree_util as jtu
import jaxtyping
import numpy as np
import pytest


init = eqx.nn.init


reinitialise = eqx.nn.reinitialise


class Pair:
    """A node whose children have keys that print alike, or with an address."""

    def __init__(self, *children):
        self.children = children


class Key:
    pass


jtu.register_pytree_with_keys(
    Pair,
    lambda pair: ([(Key(), x) for x in pair.children], None),
    lambda _, children: Pair(*children),
)


def test_as_when_made(getkey):
    def recording(calls) -> dict[str, Any]:
        def initialiser(key, shape, dtype):
            calls.append((shape, jnp.dtype(dtype)))
            return jrandom.normal(key, shape, dtype)

        return dict(weight_init=initialiser, bias_init=initialiser)

    for make in (
        ft.partial(eqx.nn.Conv2d, 4, 6, 3, groups=2, dtype=jnp.float16),
        ft.partial(eqx.nn.GRUCell, 4, 6),
    ):
        by_constructor, by_us = [], []
        layer = make(**recording(by_constructor), key=getkey())
        reinitialise(layer, **recording(by_us), key=getkey())
        assert by_constructor == by_us


def test_paths_that_print_alike(getkey):
    linear = eqx.nn.Linear(4, 4, key=getkey())
    key = getkey()
    first, second = reinitialise(Pair(linear, linear), key=key).children
    assert not np.allclose(first.weight, second.weight)
    again = reinitialise(Pair(linear, linear), key=key)
    assert eqx.tree_equal((first, second), again.children)


def test_dtypes(getkey):
    linear = eqx.nn.Linear(3, 4, key=getkey())
    dtypes = []

    def spy(key, shape, dtype):
        dtypes.append(dtype)
        return jnp.ones(shape, dtype)

    mixed = eqx.tree_at(lambda x: x.bias, linear, jnp.zeros(4, jnp.bfloat16))
    new = reinitialise(mixed, weight_init=spy, bias_init=spy, key=getkey())
    assert dtypes == [jnp.float32, jnp.float32]
    assert new.weight.dtype == jnp.float32 and new.bias.dtype == jnp.bfloat16
    # NumPy arrays become those of JAX.
    from_numpy = eqx.tree_at(lambda x: x.weight, linear, np.zeros((4, 3)))
    new = reinitialise(from_numpy, weight_init=init.normal(), key=getkey())
    assert isinstance(new.weight, jax.Array) and new.weight.dtype == jnp.float32


def test_spectral_norm(getkey):
    linear = eqx.nn.Linear(3, 4, key=getkey())
    make = eqx.nn.make_with_state(eqx.nn.SpectralNorm)
    model, _ = make(linear, "weight", key=getkey())
    model = reinitialise(model, weight_init=init.ones, key=getkey())
    assert (model.layer.weight == 1).all()


def test_does_not_use_key_twice():
    key = jrandom.PRNGKey(0)
    model = [
        eqx.nn.Linear(2, 2, key=key),
        eqx.nn.GRUCell(2, 2, key=key),
        eqx.nn.LSTMCell(2, 2, key=key),
        eqx.nn.Conv1d(4, 4, 3, groups=2, key=key),
        eqx.nn.LayerNorm(2),
        eqx.nn.MLP(2, 2, 2, 3, scan=True, key=key),
    ]
    # Only typed keys are checked.
    with jax.debug_key_reuse(True):
        keys = jrandom.split(jrandom.key(1))
        for key, bias_init in zip(keys, (init.normal(), None)):
            inits: dict[str, Any] = dict(weight_init=init.normal(), bias_init=bias_init)
            reinitialise(model, **inits, key=key)
        forget: Any = {"forget": init.normal()}
        eqx.nn.LSTMCell(2, 3, bias_init=forget, key=jrandom.key(2))
        eqx.nn.GRUCell(2, 3, bias_init=init.normal(), key=jrandom.key(3))


def test_ties(getkey):
    # The `g` of a weight that is tied is left alone, and so is a `g` that is tied.
    linear = eqx.nn.Linear(2, 3, key=getkey())
    wide = init.normal(5.0)
    normed = eqx.nn.WeightNorm(linear)
    get_first = lambda pair: pair[0].weight
    get_second = lambda pair: pair[1].layer.weight
    shared = eqx.nn.Shared((linear, normed), get_second, get_first)
    new = reinitialise(shared, weight_init=wide, key=getkey())()
    assert new[1].layer.weight is new[0].weight and new[1].g is normed.g
    # A tie that cannot be resolved while it is abstract.
    square = lambda key: eqx.nn.Linear(3, 3, key=key)
    get_second, get_transposed = lambda x: x[1].weight, lambda x: x[0].weight.T
    make = lambda key: eqx.nn.Shared(
        (square(key), square(key)), get_second, get_transposed
    )
    new = reinitialise(eqx.filter_eval_shape(make, getkey()), key=getkey())()
    assert np.array_equal(new[1].weight, new[0].weight.T)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_typed_keys(impl, getkey):
    model = eqx.nn.MLP(2, 3, 4, 2, scan=True, key=getkey())
    new = reinitialise(model, key=jrandom.key(0, impl=impl))
    assert not np.allclose(new.layers[1].weight, model.layers[1].weight)


class Mixed(eqx.nn.StatefulLayer, eqx.nn.LayerNorm):
    def __init__(self):
        eqx.nn.LayerNorm.__init__(self, 3)

    def __call__(self, x, state, *, key=None):
        return x, state


@jaxtyping.jaxtyped(typechecker=lambda fn: fn)
class TypeChecked(eqx.nn.Linear):
    pass


class Property(eqx.Module):
    linear: eqx.nn.Linear

    @property
    def weight(self):
        raise RuntimeError


def test_unusual_classes(getkey):
    key = getkey()
    with pytest.raises(ValueError, match="Mixed` at .*draws no bias"):
        reinitialise([Mixed()], bias_init=init.ones, key=key)
    as_base = lambda path, layer: {}
    new = reinitialise(Mixed(), bias_init=init.ones, select=as_base, key=key)
    assert (new.bias == 1).all()
    typechecked: Any = TypeChecked
    new = reinitialise(typechecked(3, 3, key=key), weight_init=init.ones, key=key)
    assert (new.weight == 1).all()
    linear = eqx.nn.Linear(3, 3, key=key)
    new = reinitialise(Property(linear), weight_init=init.ones, key=key)
    assert (new.linear.weight == 1).all()
    loop = lambda x: x
    loop.__wrapped__ = loop  # pyright: ignore
    for opaque in (unittest.mock.Mock(), loop):
        assert reinitialise([opaque, linear], key=key)[0] is opaque


def test_numpy_weight_under_vmap(getkey):
    linear = eqx.nn.Linear(3, 4, key=getkey())
    linear = eqx.tree_at(lambda x: x.weight, linear, np.zeros((4, 3)))
    fn = eqx.filter_vmap(lambda key: reinitialise(linear, key=key).weight)
    assert fn(jrandom.split(getkey(), 2)).shape == (2, 4, 3)


def test_abstract_norms(getkey):
    # There is no scale to be left alone.
    make = lambda key: [eqx.nn.LayerNorm(3), eqx.nn.Linear(3, 3, key=key)]
    model = eqx.filter_eval_shape(make, getkey())
    zeros = eqx.nn.init.zeros
    both = dict(weight_init=zeros, bias_init=zeros)
    norm, linear = eqx.nn.reinitialise(model, **both, key=getkey())
    assert (norm.weight == 1).all() and (norm.bias == 0).all()
    assert (linear.weight == 0).all() and (linear.bias == 0).all()
