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


class Lost(eqx.Module):
    weight: jax.Array

    def __init__(self, width=3, *, weight_init=None, key):
        self.weight = init.draw(weight_init, key, (width, width))


class Changed(eqx.Module):
    weight: jax.Array
    mask: jax.Array | float

    def __init__(self, mask=None, *, weight_init=None, key):
        self.mask = jrandom.uniform(key, (3, 3)) if mask is None else 2 * mask
        self.weight = self.mask * init.draw(weight_init, key, (3, 3))


class RandomMask(Changed):
    def __init__(self, *, weight_init=None, key):
        super().__init__(weight_init=weight_init, key=key)


class Uniform(eqx.Module):
    weight: jax.Array
    bias: jax.Array

    def __init__(self, *, weight_init=init.ones, key):
        self.weight = init.draw(weight_init, key, (3, 3))
        self.bias = jrandom.uniform(key, (3,))


class Kept(eqx.Module):
    weight: jax.Array
    rng: jax.Array

    def __init__(self, rng, *, weight_init=None, key):
        self.rng = rng
        self.weight = init.draw(weight_init, key, (3, 3))


def test_own_layers_that_cannot_be_drawn(getkey):
    key = getkey()
    one = dict(weight_init=init.ones, key=key)
    int8 = eqx.tree_at(lambda m: m.weight, Uniform(**one), jnp.ones((3, 3), jnp.int8))
    for model, why in (
        (Lost(3, **one), "has no attribute 'width'"),
        (int8, "the shapes or dtypes differ"),
        (Changed(1.0, **one), "changes its `mask` again"),
        (Changed(jnp.array(1.0), **one), "changes its `mask` again"),
        (RandomMask(**one), "draws its `mask` again"),
    ):
        for fn in (reinitialise, eqx.filter_jit(reinitialise)):
            with pytest.raises(ValueError, match=f"Cannot draw .*{why}"):
                fn(model, weight_init=init.normal(), key=key)


class Jitted(eqx.Module):
    weight: jax.Array
    bias: jax.Array

    def __init__(self, *, weight_init=init.ones, bias_init=init.ones, key):
        draw = lambda key: (init.draw(weight_init, key, (3, 3)), bias_init(key, (3,)))
        self.weight, self.bias = jax.jit(draw)(key)


class Norm(eqx.Module):
    weight: jax.Array

    def __init__(self, size):
        self.weight = jnp.ones(size)


def test_own_layers(getkey):
    key = getkey()
    two, three = init.constant(2), init.constant(3)
    jitted = Jitted(weight_init=two, bias_init=three, key=key)
    new = reinitialise(jitted, weight_init=init.zeros, key=key)
    assert (new.weight == 0).all() and (new.bias == 3).all()
    new = reinitialise(jitted, bias_init=init.zeros, key=key)
    assert (new.weight == 2).all() and (new.bias == 0).all()
    # A scale is no weight, even if its constructor takes no arguments.
    norm, linear = reinitialise(
        [Norm(3), eqx.nn.Linear(3, 3, key=key)], weight_init=init.zeros, key=key
    )
    assert (norm.weight == 1).all() and (linear.weight == 0).all()
    # What has no argument is left alone, unless everything is drawn by its default.
    uniform = Uniform(key=key)
    new = reinitialise(uniform, weight_init=init.zeros, key=key)
    assert (new.weight == 0).all() and new.bias is uniform.bias
    assert not np.array_equal(reinitialise(uniform, key=getkey()).bias, uniform.bias)
    kept = Kept(jrandom.key(7), weight_init=init.ones, key=key)
    assert (reinitialise(kept, weight_init=init.zeros, key=key).weight == 0).all()


def test_norms_in_a_slice(getkey):
    linear = lambda: eqx.nn.Linear(3, 3, key=getkey())
    norms = eqx.nn.LayerNorm(3), eqx.nn.RMSNorm(3)
    model = eqx.nn.Sequential([linear(), norms[0], linear(), norms[1]])
    draw = lambda where: reinitialise(
        model, where=where, weight_init=init.zeros, key=getkey()
    )
    assert (draw(lambda m: m.layers[2:])[3].weight == 1).all()
    assert (draw(lambda m: m.layers[3])[3].weight == 0).all()


def test_unhashable_arguments(getkey):
    norm = eqx.nn.BatchNorm(3, axis_name=["a", "b"], mode="ema")
    assert (reinitialise(norm, bias_init=init.ones, key=getkey()).bias == 1).all()


def test_integers(getkey):
    kwargs = dict(dtype=jnp.int32, weight_init=init.ones, bias_init=init.ones)
    linear = eqx.nn.Linear(2, 2, **kwargs, key=getkey())
    new = reinitialise(linear, weight_init=init.zeros, key=getkey())
    assert not new.weight.any() and new.bias is linear.bias


def test_mapping_with_nan_debugging(getkey):
    cell = eqx.nn.LSTMCell(2, 3, key=getkey())
    with jax.debug_nans(True):
        new = reinitialise(cell, bias_init={"forget": init.ones}, key=getkey())
    assert (new.bias[3:6] == 1).all()


def test_partly_abstract(getkey):
    key = getkey()
    cell = eqx.filter_eval_shape(eqx.nn.LSTMCell, 2, 3, key=key)
    cell = reinitialise(cell, bias_init=init.constant(5), key=key)
    cell = reinitialise(cell, bias_init={"forget": init.ones}, key=key)
    assert cell.bias.tolist() == [5] * 3 + [1] * 3 + [5] * 6
    assert isinstance(cell.weight_hh, jax.ShapeDtypeStruct)


def test_sizes_of_zero(getkey):
    model = [eqx.nn.Linear(0, 3, key=getkey()), eqx.nn.Linear(2, 3, key=getkey())]
    new = reinitialise(model, weight_init=init.ones, key=getkey())
    assert (new[1].weight == 1).all() and new[0].weight.shape == (3, 0)
