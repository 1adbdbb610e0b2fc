import math
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jrandom
import jax.tree_util as jtu
import numpy as np
import pytest


init = eqx.nn.init
reinitialise = init.reinitialise


def std(x):
    return float(np.std(np.asarray(x)))


def is_linear(path, layer):
    return isinstance(layer, eqx.nn.Linear)


def layers(key):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            eqx.nn.Linear(3, 4, key=key),
            eqx.nn.Linear("scalar", "scalar", key=key),
            eqx.nn.Linear(3, 4, dtype=jnp.float16, key=key),
            eqx.nn.Linear(3, 4, dtype=jnp.complex64, key=key),
            eqx.nn.Conv(1, 4, 6, 3, groups=2, key=key),
            eqx.nn.Conv2d(4, 6, 3, padding="SAME", dilation=2, key=key),
            eqx.nn.Conv3d(4, 6, 3, padding=1, padding_mode="REFLECT", key=key),
            eqx.nn.ConvTranspose1d(4, 6, 3, groups=2, padding="VALID", key=key),
            eqx.nn.ConvTranspose2d(4, 6, 3, 2, 1, ((1, 2), (0, 1)), key=key),
            eqx.nn.ConvTranspose3d(
                4, 6, 2, padding="SAME", padding_mode="CIRCULAR", key=key
            ),
            eqx.nn.GRUCell(3, 4, key=key),
            eqx.nn.LSTMCell(3, 4, key=key),
            eqx.nn.LayerNorm((3, 4)),
            eqx.nn.RMSNorm(4),
            eqx.nn.GroupNorm(2, 4),
            eqx.nn.BatchNorm(4, "batch"),
            eqx.nn.BatchNorm(4, "batch", mode="batch"),
        ]


#
# What is drawn
#


def test_every_layer(getkey):
    model = layers(getkey())
    new = reinitialise(
        model, weight_init=init.constant(2), bias_init=init.constant(3), key=getkey()
    )
    assert jtu.tree_structure(model) == jtu.tree_structure(new)
    for old_layer, layer in zip(model, new):
        for name in ("weight", "weight_ih", "weight_hh", "bias", "bias_n"):
            if hasattr(layer, name):
                old_value, value = getattr(old_layer, name), getattr(layer, name)
                assert value.shape == old_value.shape
                assert value.dtype == old_value.dtype
                assert (value == (2 if name.startswith("weight") else 3)).all()
                assert not value.weak_type
    embedding = reinitialise(
        eqx.nn.Embedding(3, 2, key=getkey()), weight_init=init.ones, key=getkey()
    )
    assert (embedding.weight == 1).all()


def test_as_when_made(getkey):
    # Every initialiser is called as by the constructor.
    def recording(calls) -> dict[str, Any]:
        def initialiser(key, shape, dtype):
            calls.append((shape, jnp.dtype(dtype)))
            return jrandom.normal(key, shape, dtype)

        return dict(weight_init=initialiser, bias_init=initialiser)

    by_constructor, by_us = [], []
    key = getkey()
    layer = eqx.nn.Conv2d(4, 6, 3, groups=2, dtype=jnp.float16, key=key)
    eqx.nn.Conv2d(
        4, 6, 3, groups=2, dtype=jnp.float16, **recording(by_constructor), key=key
    )
    reinitialise(layer, **recording(by_us), key=key)
    layer = eqx.nn.GRUCell(4, 6, key=key)
    eqx.nn.GRUCell(4, 6, **recording(by_constructor), key=key)
    reinitialise(layer, **recording(by_us), key=key)
    assert by_constructor == by_us


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_fans(mode, getkey):
    # To 3 %, for samples of at least 10000: four standard deviations of the estimate.
    scaling = init.variance_scaling(1.0, mode, "normal")

    def check(layer, **fans):
        new = reinitialise(layer, weight_init=scaling, bias_init=scaling, key=getkey())
        for name, (fan_in, fan_out) in fans.items():
            n = dict(fan_in=fan_in, fan_out=fan_out)[mode]
            value = getattr(new, name)
            assert value.size >= 10_000
            assert std(value) == pytest.approx(n**-0.5, rel=0.03), name

    nn = eqx.nn
    key = getkey()
    check(nn.Linear(3, 10_000, key=key), weight=(3, 10_000), bias=(3, 10_000))
    conv = nn.Conv1d(2, 10_000, 3, groups=2, key=key)
    check(conv, weight=(3, 15_000), bias=(3, 15_000))
    conv = nn.ConvTranspose2d(64, 128, 3, groups=4, key=key)
    check(conv, weight=(144, 288))
    check(nn.GRUCell(120, 60, key=key), weight_ih=(120, 60), weight_hh=(60, 60))
    check(nn.LSTMCell(120, 60, key=key), weight_ih=(120, 60), weight_hh=(60, 60))
    check(nn.Embedding(5000, 4, key=key), weight=(4, 5000))


def test_gates(getkey):
    for cls, num_gates in ((eqx.nn.GRUCell, 3), (eqx.nn.LSTMCell, 4)):
        cell = cls(8, 8, key=getkey())
        cell = reinitialise(cell, weight_init=init.orthogonal(), key=getkey())
        for packed in (cell.weight_ih, cell.weight_hh):
            for gate in jnp.split(packed, num_gates):
                assert np.allclose(gate @ gate.T, np.eye(8), atol=1e-5)


def test_all_biases_to_zero(getkey):
    # The request of the issue that started all this.
    model = (eqx.nn.MLP(2, 3, 4, 2, key=getkey()), layers(getkey()))
    new = reinitialise(model, bias_init=init.zeros, key=getkey())
    changed = []
    old_leaves, _ = jtu.tree_flatten_with_path(model)
    for (path, old), value in zip(old_leaves, jtu.tree_leaves(new)):
        if "bias" in jtu.keystr(path[-1:]) and eqx.is_array(value):
            assert (value == 0).all()
            changed.append(path)
        else:
            assert value is old
    assert len(changed) == 3 + 18


def test_composite(getkey):
    model: dict[str, Any] = dict(
        mlp=eqx.nn.MLP(2, 3, 4, 2, key=getkey()),
        attention=eqx.nn.MultiheadAttention(2, 4, key=getkey()),
        sequential=eqx.nn.Sequential(
            [eqx.nn.Linear(2, 2, key=getkey()), eqx.nn.Lambda(jax.nn.relu)]
        ),
    )
    new = reinitialise(model, weight_init=init.ones, key=getkey())
    linears = [
        *new["mlp"].layers,
        new["attention"].query_proj,
        new["attention"].key_proj,
        new["attention"].value_proj,
        new["attention"].output_proj,
        new["sequential"].layers[0],
    ]
    assert all((linear.weight == 1).all() for linear in linears)


def test_layers_within_layers(getkey):
    class LowRank(eqx.nn.Linear):
        down: eqx.nn.Linear
        up: list

        def __init__(self, size, rank, *, key):
            super().__init__(size, size, key=key)
            self.down = eqx.nn.Linear(size, rank, use_bias=False, key=key)
            self.up = [eqx.nn.Linear(rank, size, use_bias=False, key=key)]

    model = LowRank(3, 2, key=getkey())
    new = reinitialise(model, weight_init=init.ones, key=getkey())
    assert type(new) is LowRank
    for linear in (new, new.down, new.up[0]):
        assert (linear.weight == 1).all()
    assert new.bias is model.bias

    def where(path, layer):
        return jtu.keystr(path) == ".up[0]"

    new = reinitialise(model, weight_init=init.ones, where=where, key=getkey())
    assert (new.up[0].weight == 1).all()
    assert new.weight is model.weight and new.down.weight is model.down.weight


def test_absent_parameters(getkey):
    linear = eqx.nn.Linear(2, 3, key=getkey())
    linear = eqx.tree_at(lambda x: x.bias, linear, None)

    def fails(key, shape, dtype):
        raise AssertionError

    model = [linear, eqx.nn.Linear(2, 3, use_bias=False, key=getkey())]
    new = reinitialise(model, weight_init=init.ones, bias_init=fails, key=getkey())
    for linear in new:
        assert linear.bias is None and (linear.weight == 1).all()


def test_mixed_dtypes(getkey):
    linear = eqx.nn.Linear(2, 3, key=getkey())
    assert linear.bias is not None
    linear = eqx.tree_at(lambda x: x.bias, linear, linear.bias.astype(jnp.bfloat16))
    dtypes = []

    def spy(key, shape, dtype):
        dtypes.append(dtype)
        return jnp.zeros(shape, dtype)

    new = reinitialise(linear, weight_init=spy, bias_init=spy, key=getkey())
    assert dtypes == [jnp.float32, jnp.bfloat16]
    assert new.weight.dtype == jnp.float32 and new.bias.dtype == jnp.bfloat16


def test_structs(getkey):
    # A model that does not exist yet is drawn just once.
    struct = eqx.filter_eval_shape(eqx.nn.MLP, 2, 3, 4, 2, key=getkey())
    both: dict[str, Any] = dict(weight_init=init.he_normal(), bias_init=init.zeros)
    key = getkey()
    new = reinitialise(struct, **both, key=key)
    real = reinitialise(eqx.nn.MLP(2, 3, 4, 2, key=key), **both, key=key)
    assert eqx.tree_equal(eqx.filter(new, eqx.is_array), eqx.filter(real, eqx.is_array))


#
# Wrapped, shared and stacked layers
#


def test_weight_norm(getkey):
    for make in (
        lambda key: eqx.nn.WeightNorm(eqx.nn.Linear(3, 4, key=key)),
        lambda key: eqx.nn.WeightNorm(eqx.nn.Linear(3, 4, key=key), axis=None),
        lambda key: eqx.nn.WeightNorm(eqx.nn.Conv1d(3, 4, 2, key=key), axis=1),
        lambda key: eqx.nn.WeightNorm(eqx.nn.GRUCell(3, 4, key=key), "weight_hh"),
    ):
        model = make(getkey())
        new = reinitialise(model, weight_init=init.normal(5.0), key=getkey())
        name = model.weight_name
        assert not np.allclose(getattr(new.layer, name), getattr(model.layer, name))
        # As if it was made of the new layer.
        again = eqx.nn.WeightNorm(new.layer, name, model.axis)
        assert eqx.tree_equal(new.layer, again.layer)
        assert np.allclose(new.g, again.g, rtol=1e-6)
        ensemble = eqx.filter_vmap(make)(jrandom.split(getkey(), 3))
        ensemble = reinitialise(ensemble, weight_init=init.normal(5.0), key=getkey())
        again = eqx.filter_vmap(lambda l: eqx.nn.WeightNorm(l, name, model.axis))
        assert np.allclose(ensemble.g, again(ensemble.layer).g, rtol=1e-5)
    model = eqx.nn.WeightNorm(eqx.nn.GRUCell(3, 4, key=getkey()), "weight_hh")
    new = reinitialise(model, bias_init=init.ones, key=getkey())
    assert (new.layer.bias == 1).all()


def test_weight_norm_is_partial_or_mixed(getkey):
    model = eqx.nn.WeightNorm(eqx.nn.Linear(3, 4, key=getkey()))
    get_g = lambda m: m.g
    new = reinitialise(
        eqx.tree_at(get_g, model, None), weight_init=init.ones, key=getkey()
    )
    assert new.g is None and (new.layer.weight == 1).all()
    weight = model.layer.weight.astype(jnp.bfloat16)
    model = eqx.tree_at(lambda m: m.layer.weight, model, weight)
    new = reinitialise(model, weight_init=init.ones, key=getkey())
    assert new.g.dtype == model.g.dtype == jnp.float32


def test_spectral_norm(getkey):
    linear = eqx.nn.Linear(3, 4, key=getkey())
    model, state = eqx.nn.make_with_state(eqx.nn.SpectralNorm)(
        linear, "weight", key=getkey()
    )
    model = reinitialise(model, weight_init=init.orthogonal(3.0), key=getkey())
    assert np.allclose(
        model.layer.weight.T @ model.layer.weight, 9 * np.eye(3), atol=1e-5
    )
    model = eqx.tree_at(lambda m: m.layer.bias, model, jnp.zeros(4))
    x = jrandom.normal(getkey(), (3,))
    y, state = model(x, state)
    for _ in range(9):
        y, state = model(x, state)
    assert jnp.linalg.norm(y) == pytest.approx(jnp.linalg.norm(x).item(), rel=1e-4)


def test_shared(getkey):
    embedding = eqx.nn.Embedding(3, 2, key=getkey())
    linear = eqx.nn.Linear(2, 3, key=getkey())
    where = lambda pair: pair[1].weight
    get = lambda pair: pair[0].weight
    shared = eqx.nn.Shared((embedding, linear), where, get)
    calls = []

    def spy(key, shape, dtype):
        calls.append(shape)
        return jrandom.normal(key, shape, dtype)

    new = reinitialise(shared, weight_init=spy, key=getkey())
    assert calls == [(3, 2)]
    new_embedding, new_linear = new()
    assert new_linear.weight is new_embedding.weight
    assert not np.allclose(new_linear.weight, embedding.weight)
    # The bias knows its fans even so.
    limit = init.variance_scaling(3.0, "fan_in", "uniform")
    new = reinitialise(shared, bias_init=limit, key=getkey())
    assert jnp.abs(new()[1].bias).max() <= math.sqrt(9 / 2)


@pytest.mark.parametrize(
    "initialiser",
    [
        init.glorot_uniform(),
        init.from_jax(jinit.glorot_uniform()),
        lambda key, shape, dtype: jinit.glorot_uniform()(key, shape, dtype),
        lambda key, shape, dtype: np.random.default_rng(
            int(jrandom.randint(key, (), 0, 2**31 - 1))
        ).uniform(-math.sqrt(6 / 7), math.sqrt(6 / 7), shape),
    ],
)
def test_ensemble(initialiser, getkey):
    make = eqx.filter_vmap(eqx.filter_vmap(lambda key: eqx.nn.Linear(3, 4, key=key)))
    ensemble = make(jrandom.split(getkey(), (2, 5)))
    new = reinitialise(ensemble, weight_init=initialiser, key=getkey())
    assert new.weight.shape == (2, 5, 4, 3)
    assert len(np.unique(np.asarray(new.weight))) == new.weight.size
    # The fans are those of one member.
    limit = math.sqrt(6 / 7)
    assert 0.95 * limit < jnp.abs(new.weight).max() <= limit
    assert new.bias is ensemble.bias


def test_ensemble_of_generators(getkey):
    rng = np.random.default_rng(0)
    ensemble = eqx.filter_vmap(lambda key: eqx.nn.Linear(3, 4, key=key))(
        jrandom.split(getkey(), 5)
    )
    draw = lambda key, shape, dtype: rng.normal(size=shape)
    new = reinitialise(ensemble, weight_init=draw, key=getkey())
    assert len(np.unique(np.asarray(new.weight))) == new.weight.size


def test_scan(getkey):
    for depth in (1, 2, 4):
        mlp = eqx.nn.MLP(2, 3, 8, depth, scan=True, key=getkey())
        new = reinitialise(
            mlp, weight_init=init.orthogonal(), bias_init=init.ones, key=getkey()
        )
        assert new.layers[1].weight.shape == (depth - 1, 8, 8)
        for weight in new.layers[1].weight:
            assert np.allclose(weight @ weight.T, np.eye(8), atol=1e-5)
        assert (new.layers[1].bias == 1).all()
        assert new(jnp.ones(2)).shape == (3,)


def test_ensemble_with_one_bias(getkey):
    make = lambda key: eqx.nn.Linear(3, 4, key=key)
    ensemble = eqx.filter_vmap(make)(jrandom.split(getkey(), 5))
    ensemble = eqx.tree_at(lambda x: x.bias, ensemble, jnp.zeros(4))
    both: dict[str, Any] = dict(weight_init=init.normal(), bias_init=init.normal())
    new = reinitialise(ensemble, **both, key=getkey())
    assert new.weight.shape == (5, 4, 3) and new.bias.shape == (4,)


#
# Which layers, and with which keys
#


def test_where(getkey):
    model: dict[str, Any] = dict(
        encoder=[eqx.nn.Linear(2, 2, key=getkey())], norm=eqx.nn.LayerNorm(2)
    )
    seen = {}

    def where(path, layer):
        seen[jtu.keystr(path)] = layer
        return isinstance(layer, eqx.nn.Linear)

    key = getkey()
    new = reinitialise(model, weight_init=init.he_normal(), where=where, key=key)
    assert seen == {
        "['encoder'][0]": model["encoder"][0],
        "['norm']": model["norm"],
    }
    assert new["norm"].weight is model["norm"].weight
    assert new["encoder"][0].bias is model["encoder"][0].bias
    assert new["encoder"][0].weight is not model["encoder"][0].weight


def test_values_depend_on_path_only(getkey):
    linear = lambda: eqx.nn.Linear(4, 4, key=getkey())
    key = getkey()
    both: dict[str, Any] = dict(weight_init=init.normal(), bias_init=init.normal())
    model: dict[str, Any] = dict(a=[linear(), linear()], c=linear())
    new = reinitialise(model, **both, key=key)
    leaves = jtu.tree_leaves(new)
    values = np.concatenate([np.ravel(x) for x in leaves])
    assert len(np.unique(values)) == len(values)
    # Neither on what was there, nor on whatever else there is, nor on `where`.
    longer: dict[str, Any] = dict(
        a=[linear(), linear(), linear()], b=linear(), c=linear()
    )
    longer = reinitialise(longer, **both, key=key)
    assert eqx.tree_equal(longer["a"][:2], new["a"])
    assert eqx.tree_equal(longer["c"], new["c"])
    where = lambda path, layer: jtu.keystr(path) == "['c']"
    only = reinitialise(model, **both, where=where, key=key)
    assert eqx.tree_equal(only["c"], new["c"])
    assert eqx.tree_equal(only["a"], model["a"])
    only = reinitialise(model, weight_init=init.normal(), key=key)
    assert eqx.tree_equal(only["c"].weight, new["c"].weight)
    other = reinitialise(model, **both, key=getkey())
    assert not eqx.tree_equal(other["c"], new["c"])


def test_does_not_use_key_twice(getkey):
    model = dict(
        linear=eqx.nn.Linear(2, 2, key=getkey()),
        cell=eqx.nn.LSTMCell(2, 2, key=getkey()),
        norm=eqx.nn.LayerNorm(2),
        stack=eqx.nn.MLP(2, 2, 2, 3, scan=True, key=getkey()),
    )
    both: dict[str, Any] = dict(weight_init=init.normal(), bias_init=init.normal())
    with jax.debug_key_reuse(True):
        reinitialise(model, **both, key=jrandom.key(0))


def test_transformations(getkey):
    key = getkey()
    model = dict(
        mlp=eqx.nn.MLP(2, 3, 4, 3, scan=True, key=key),
        cell=eqx.nn.GRUCell(2, 3, key=key),
        norm=eqx.nn.LayerNorm(2),
    )
    both: dict[str, Any] = dict(
        weight_init=init.normal(), bias_init=init.uniform(-1, 1)
    )
    eager = reinitialise(model, **both, key=key)
    with jax.checking_leaks():
        jitted = eqx.filter_jit(reinitialise)(model, **both, key=key)
    assert eqx.tree_equal(eager, jitted, rtol=1e-5, atol=1e-6)
    struct = eqx.filter_eval_shape(reinitialise, model, **both, key=key)
    assert jtu.tree_structure(struct) == jtu.tree_structure(model)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_typed_keys(impl, getkey):
    model = eqx.nn.MLP(2, 3, 4, 2, scan=True, key=getkey())
    key = jrandom.key(0, impl=impl)
    new = reinitialise(model, weight_init=init.ones, bias_init=init.normal(), key=key)
    assert (new.layers[1].weight == 1).all()
    assert not np.allclose(new.layers[1].bias, model.layers[1].bias)  # pyright: ignore


def test_vmap_over_keys(getkey):
    single = eqx.nn.Linear(2, 3, key=getkey())
    fn = lambda key: reinitialise(single, weight_init=init.normal(), key=key)
    ensemble = eqx.filter_vmap(fn)(jrandom.split(getkey(), 3))
    assert len(np.unique(np.asarray(ensemble.weight))) == 18


#
# Mistakes
#


def test_nothing_to_do(getkey):
    key = getkey()
    linear = eqx.nn.Linear(2, 2, use_bias=False, key=key)
    with pytest.raises(ValueError, match="`weight_init` and `bias_init`"):
        reinitialise(linear, key=key)
    for model in ([], None, {"a": jnp.ones(3)}, eqx.nn.Lambda(jax.nn.relu)):
        with pytest.raises(ValueError, match="does not contain any layer"):
            reinitialise(model, weight_init=init.ones, key=key)
    with pytest.raises(ValueError, match="`where` does not.*`\\[0\\]`"):
        where = lambda path, layer: False
        reinitialise([linear], weight_init=init.ones, where=where, key=key)
    with pytest.raises(ValueError, match="no layer has.*`bias_init`.*`\\[0\\]`"):
        reinitialise([linear], bias_init=init.ones, key=key)


def test_mistakes(getkey):
    key = getkey()
    model = dict(linear=eqx.nn.Linear(2, 2, key=key), norm=eqx.nn.LayerNorm((2, 2)))
    for initialiser in (init.he_normal(), init.orthogonal()):
        with pytest.raises(ValueError, match="LayerNorm` at `\\['norm'\\]`.*`where`"):
            reinitialise(model, weight_init=initialiser, key=key)
    with pytest.raises(TypeError, match="did you mean `he_normal\\(\\)`"):
        reinitialise(model, weight_init=jinit.he_normal, key=key)  # pyright: ignore

    def fails(key, shape, dtype):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="^mine"):
        reinitialise(model, weight_init=fails, key=key)
    bad_where: Any
    for bad_where in (eqx.nn.Linear, lambda layer: True):
        with pytest.raises(TypeError, match="`where` must be a function"):
            reinitialise(model, weight_init=init.ones, where=bad_where, key=key)
    get_weight = lambda l: l.weight
    linear = eqx.tree_at(get_weight, model["linear"], jnp.ones((2, 5)))
    with pytest.raises(ValueError, match="`\\[0\\]`.*\\(2, 5\\).*\\(2, 2\\)"):
        reinitialise([linear], weight_init=init.ones, key=key)
    # Which does not matter for the bias.
    new = reinitialise([linear], bias_init=init.ones, key=key)
    assert (new[0].bias == 1).all() and new[0].weight is linear.weight
    linear = eqx.tree_at(get_weight, linear, [jnp.ones((2, 2))])
    with pytest.raises(ValueError, match="`\\[0\\]`: `weight` is not an array.*`list`"):
        reinitialise([linear], weight_init=init.ones, key=key)

    get_bias = lambda l: l.bias
    none = eqx.nn.Linear(2, 2, use_bias=False, key=key)
    linear = eqx.tree_at(get_bias, none, jnp.ones(2), is_leaf=lambda x: x is None)
    assert (reinitialise(linear, weight_init=init.ones, key=key).bias == 1).all()
    with pytest.raises(ValueError, match="made without the `bias`.*`where`"):
        reinitialise(linear, bias_init=init.ones, key=key)

    class LastAxis(eqx.nn.LayerNorm):
        def __init__(self, size):
            super().__init__(size)
            self.shape = None  # pyright: ignore

    with pytest.raises(ValueError, match="(?s)LastAxis` at `\\['a'\\]`.*`where`"):
        reinitialise({"a": LastAxis(3)}, weight_init=init.ones, key=key)


def test_ensemble_of_given_arrays(getkey):
    # One call for each member: nothing is drawn and thrown away.
    make = eqx.filter_vmap(lambda key: eqx.nn.Linear(3, 4, key=key))
    arrays = [np.full((4, 3), i) for i in range(3)]
    given = iter(arrays)
    initialiser: Any = lambda key, shape, dtype: next(given)
    new = reinitialise(
        make(jrandom.split(getkey(), 3)), weight_init=initialiser, key=getkey()
    )
    assert np.array_equal(new.weight, np.stack(arrays))
    assert list(given) == []
