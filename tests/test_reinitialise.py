import functools as ft
import inspect
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
reinitialise = eqx.nn.reinitialise


def constants(weight, bias) -> dict[str, Any]:
    return dict(weight_init=init.constant(weight), bias_init=init.constant(bias))


def layers(key):
    make: dict[str, Any] = dict(
        Linear=lambda: eqx.nn.Linear(3, 4, key=key),
        Conv=lambda: eqx.nn.Conv(1, 4, 6, 3, groups=2, dtype=jnp.float16, key=key),
        Conv1d=lambda: eqx.nn.Conv1d(4, 6, 3, dtype=jnp.complex64, key=key),
        Conv2d=lambda: eqx.nn.Conv2d(4, 6, 3, padding="SAME", dilation=2, key=key),
        Conv3d=lambda: eqx.nn.Conv3d(4, 6, 3, padding_mode="REFLECT", key=key),
        ConvTranspose=lambda: eqx.nn.ConvTranspose(2, 4, 6, 3, key=key),
        ConvTranspose1d=lambda: eqx.nn.ConvTranspose1d(4, 6, 3, groups=2, key=key),
        ConvTranspose2d=lambda: eqx.nn.ConvTranspose2d(4, 6, 3, 2, 1, (1, 0), key=key),
        ConvTranspose3d=lambda: eqx.nn.ConvTranspose3d(4, 6, (1, 2, 3), key=key),
        GRUCell=lambda: eqx.nn.GRUCell(3, 4, key=key),
        LSTMCell=lambda: eqx.nn.LSTMCell(3, 4, key=key),
        Embedding=lambda: eqx.nn.Embedding(3, 2, key=key),
        LayerNorm=lambda: eqx.nn.LayerNorm((3, 4)),
        RMSNorm=lambda: eqx.nn.RMSNorm(4),
        GroupNorm=lambda: eqx.nn.GroupNorm(2, 4),
        BatchNorm=lambda: eqx.nn.BatchNorm(4, "batch", mode="ema"),
        MLP=lambda: eqx.nn.MLP(2, 3, 4, 3, scan=True, key=key),
        MultiheadAttention=lambda: eqx.nn.MultiheadAttention(
            2, 4, use_output_bias=True, key=key
        ),
    )
    # Every layer that takes an initialiser must be here, and so be known.
    assert set(make) == {
        name
        for name, cls in inspect.getmembers(eqx.nn, inspect.isclass)
        if "weight_init" in inspect.signature(cls.__init__).parameters
    }
    return {name: fn() for name, fn in make.items()}


def parameters(model):
    """Weights and biases, by path."""
    flat, _ = jtu.tree_flatten_with_path(eqx.filter(model, eqx.is_array))
    flat = {jtu.keystr(path): (path[-1], x) for path, x in flat}
    name = lambda entry: getattr(entry, "name", "")
    weights = {p: x for p, (end, x) in flat.items() if name(end).startswith("weight")}
    biases = {p: x for p, (end, x) in flat.items() if name(end).startswith("bias")}
    return weights, biases


def test_every_layer(getkey):
    model = layers(getkey())
    every = lambda path, layer: True
    new = reinitialise(model, **constants(2, 3), select=every, key=getkey())
    assert jtu.tree_structure(model) == jtu.tree_structure(new)
    for old_params, params, value in zip(parameters(model), parameters(new), (2, 3)):
        assert len(params) == len(old_params) >= 18
        for path, x in params.items():
            assert (x == value).all() and not x.weak_type
            assert x.shape == old_params[path].shape
            assert x.dtype == old_params[path].dtype


def test_one_kind(getkey):
    model = layers(getkey())
    weights, biases = parameters(model)
    new_weights, new_biases = parameters(
        reinitialise(model, bias_init=init.constant(3), key=getkey())
    )
    assert all((x == 3).all() for x in new_biases.values())
    assert all(new_weights[path] is x for path, x in weights.items())
    new_weights, new_biases = parameters(
        reinitialise(model, weight_init=init.constant(2), key=getkey())
    )
    # The weight of a normalisation layer is its scale.
    for path, x in new_weights.items():
        assert (x == (1 if "Norm" in path else 2)).all()
    assert all(new_biases[path] is x for path, x in biases.items())


def test_defaults(getkey):
    model = layers(getkey())
    new = reinitialise(
        reinitialise(model, **constants(2, 3), key=getkey()), key=getkey()
    )
    weights, biases = parameters(new)
    for path, x in (weights | biases).items():
        if "Norm" in path:
            assert (x == (1 if path in weights else 0)).all()
        else:
            assert len(np.unique(np.asarray(x))) > 0.5 * x.size
    # As the layer draws them itself.
    limit = np.sqrt(1 / 4)
    assert 0.2 < jnp.abs(new["LSTMCell"].weight_hh).max() <= limit
    assert jnp.abs(new["Embedding"].weight).max() > 0.05


def test_mapping_for_selected_cells(getkey):
    cells = [eqx.nn.LSTMCell(2, 3, key=getkey()), eqx.nn.GRUCell(2, 3, key=getkey())]
    is_lstm = lambda path, layer: isinstance(layer, eqx.nn.LSTMCell)
    forget = {"forget": init.ones}
    new = reinitialise(cells, bias_init=forget, select=is_lstm, key=getkey())
    assert (new[0].bias[3:6] == 1).all() and not (new[0].bias[:3] == 1).any()
    assert new[0].weight_hh is cells[0].weight_hh and new[1].bias is cells[1].bias
    with pytest.raises(ValueError, match="'forget'.*'reset'"):
        reinitialise(cells, bias_init=forget, key=getkey())


def test_select_and_keys(getkey):
    linear = lambda: eqx.nn.Linear(4, 4, key=getkey())
    key = getkey()
    both: dict[str, Any] = dict(weight_init=init.normal(), bias_init=init.normal())
    model: dict[str, Any] = dict(a=[linear(), linear()], c=linear())
    new = reinitialise(model, **both, key=key)
    drawn = np.concatenate([np.ravel(x) for x in jtu.tree_leaves(new)])
    assert len(np.unique(drawn)) > 0.9 * len(drawn)
    # Neither what was there, nor what else there is, nor what is selected matters.
    longer: dict[str, Any] = dict(
        a=[linear() for _ in range(3)], b=linear(), c=linear()
    )
    longer = reinitialise(longer, **both, key=key)
    assert eqx.tree_equal(longer["a"][:2], new["a"])
    assert eqx.tree_equal(longer["c"], new["c"])
    seen = []
    select = (
        lambda path, layer: seen.append((jtu.keystr(path), layer)) or len(seen) == 3
    )
    only = reinitialise(model, **both, select=select, key=key)
    assert [path for path, _ in seen] == ["['a'][0]", "['a'][1]", "['c']"]
    assert seen[2][1] is model["c"]
    assert eqx.tree_equal(only["c"], new["c"])
    assert eqx.tree_equal(only["a"], model["a"])


def test_stacks(getkey):
    make = lambda key: eqx.nn.MLP(2, 3, 8, 3, scan=True, key=key)
    ensemble = eqx.filter_vmap(eqx.filter_vmap(make))(jrandom.split(getkey(), (2, 5)))
    inits: dict[str, Any] = dict(
        weight_init=jinit.orthogonal(), bias_init=jinit.normal()
    )
    new = reinitialise(ensemble, **inits, key=getkey())
    hidden = new.layers[1]
    assert hidden.weight.shape == (2, 5, 2, 8, 8)
    for weight in hidden.weight.reshape(-1, 8, 8):
        assert np.allclose(weight @ weight.T, np.eye(8), atol=1e-5)
    for x in (hidden.weight, hidden.bias):
        assert len(np.unique(np.asarray(x).round(6))) > 0.9 * x.size
    # A single bias for all members.
    linears = eqx.filter_vmap(lambda key: eqx.nn.Linear(3, 4, key=key))(
        jrandom.split(getkey(), 5)
    )
    linears = eqx.tree_at(lambda x: x.bias, linears, jnp.zeros(4))
    new = reinitialise(linears, key=getkey())
    assert new.weight.shape == (5, 4, 3) and new.bias.shape == (4,)


def test_structs(getkey):
    struct = eqx.filter_eval_shape(eqx.nn.MLP, 2, 3, 4, 2, key=getkey())
    key = getkey()
    new = reinitialise(struct, key=key)
    real = reinitialise(eqx.nn.MLP(2, 3, 4, 2, key=key), key=key)
    assert eqx.tree_equal(eqx.filter(new, eqx.is_array), eqx.filter(real, eqx.is_array))


def test_weight_norm(getkey):
    norm_of = lambda layer, name, axis: eqx.nn.WeightNorm(layer, name, axis).g
    wide = init.normal(5.0)
    for make in (
        lambda key: eqx.nn.WeightNorm(eqx.nn.Linear(3, 4, key=key)),
        lambda key: eqx.nn.WeightNorm(eqx.nn.Linear(3, 4, key=key), axis=None),
        lambda key: eqx.nn.WeightNorm(eqx.nn.Conv1d(3, 4, 2, key=key), axis=1),
        lambda key: eqx.nn.WeightNorm(eqx.nn.GRUCell(3, 4, key=key), "weight_hh"),
    ):
        model = make(getkey())
        new = reinitialise(model, weight_init=wide, key=getkey())
        expected = norm_of(new.layer, model.weight_name, model.axis)
        assert np.allclose(new.g, expected, rtol=1e-6)
        assert not np.allclose(new.g, model.g, rtol=0.1)
        ensemble = eqx.filter_vmap(make)(jrandom.split(getkey(), 3))
        ensemble = reinitialise(ensemble, weight_init=wide, key=getkey())
        expected = eqx.filter_vmap(norm_of)(
            ensemble.layer, model.weight_name, model.axis
        )
        assert np.allclose(ensemble.g, expected, rtol=1e-5)
        trained = eqx.tree_at(lambda m: m.g, model, 2 * model.g)
        new = reinitialise(trained, bias_init=init.ones, key=getkey())
        assert new.g is trained.g


def test_shared(getkey):
    embedding = eqx.nn.Embedding(3, 2, key=getkey())
    linear = eqx.nn.Linear(2, 3, key=getkey())
    get_first, get_second = lambda pair: pair[0].weight, lambda pair: pair[1].weight
    shared = eqx.nn.Shared((embedding, linear), get_second, get_first)
    new = reinitialise(shared, key=getkey())()
    assert new[1].weight is new[0].weight
    assert not np.allclose(new[1].weight, embedding.weight)


class Own(eqx.Module):
    weight: Any
    linear: eqx.nn.Linear


class Masked(eqx.nn.Linear):
    def __init__(self, size, *, key):
        super().__init__(size, size, key=key)
        self.weight = jnp.tril(self.weight)


class Plain(eqx.nn.Linear):
    pass


def test_nothing_is_skipped_in_silence(getkey):
    key = getkey()
    linear = eqx.nn.Linear(2, 2, key=key)
    own = Own(jnp.ones(2), linear)
    is_linear = lambda path, layer: type(layer) is eqx.nn.Linear
    skipped: list[Any] = [
        (own, "`Own`"),
        (Masked(2, key=key), "`Masked` .*subclass with its own `__init__`"),
        (eqx.filter_jit(linear), "`_JitWrapper`.*hides"),
        (jax.jit(linear), "`PjitFunction`.*hides"),
        (jtu.Partial(linear), "`Partial`.*hides"),
        (linear.__call__, "`method`.*hides"),
        (ft.partial(lambda layer, x: layer(x), linear), "`partial`.*hides"),
    ]
    for node, name in skipped:
        model = {"linear": linear, "other": node}
        with pytest.raises(ValueError, match=f"Cannot reinitialise .*{name}.*`select`"):
            reinitialise(model, key=key)
        # Unless the choice is the user's.
        new = reinitialise(model, **constants(2, 3), select=is_linear, key=key)
        assert (new["linear"].weight == 2).all()
    new = reinitialise(own, **constants(2, 3), select=is_linear, key=key)
    assert (new.linear.weight == 2).all() and new.weight is own.weight
    # There is no bias that is left out.
    assert (reinitialise(own, bias_init=init.ones, key=key).linear.bias == 1).all()
    every = lambda path, layer: True
    masked = reinitialise(Masked(2, key=key), **constants(2, 3), select=every, key=key)
    assert (masked.weight == 2).all()
    # What can be reached is no problem.
    plain: Any = Plain
    reachable = [
        plain(2, 2, key=key),
        eqx.Partial(linear),
        eqx.filter_vmap(linear),
        jax.jit(jnp.sin),
    ]
    weights, _ = parameters(reinitialise(reachable, **constants(2, 3), key=key))
    assert len(weights) == 3 and all((x == 2).all() for x in weights.values())
    with pytest.raises(ValueError, match="Nothing to draw"):
        reinitialise({"a": jnp.ones(3)}, key=key)
    with pytest.raises(ValueError, match="Nothing to draw.*`Linear` at `"):
        reinitialise([linear], select=lambda path, layer: False, key=key)
    with pytest.raises(ValueError, match="no layer .* has a weight.*is its scale"):
        reinitialise(eqx.nn.LayerNorm(3), weight_init=init.ones, key=key)


def test_mistakes(getkey):
    key = getkey()
    linear = eqx.nn.Linear(2, 2, key=key)
    with pytest.raises(TypeError, match="did you mean `he_normal\\(\\)`"):
        reinitialise(linear, weight_init=init.he_normal, key=key)  # pyright: ignore
    for select in (eqx.nn.Linear, lambda layer: True, "linear"):
        with pytest.raises(TypeError, match="select"):
            reinitialise(linear, select=select, key=key)  # pyright: ignore

    # Whatever is raised tells which layer that was.
    def check(error, match, model, **kwargs):
        with pytest.raises(error, match=match) as e:
            reinitialise({"a": model}, **kwargs, key=key)
        said = "".join([str(e.value), *getattr(e.value, "__notes__", [])])
        assert hasattr(e.value, "__notes__") is hasattr(e.value, "add_note")
        if hasattr(e.value, "__notes__"):
            assert f"`{type(model).__name__}` at `['a']`" in said and "`select`" in said

    def raises(key, shape, dtype):
        raise ZeroDivisionError("as it is")

    check(ZeroDivisionError, "^as it is", linear, weight_init=raises)
    check(ValueError, "1-dim", eqx.nn.LayerNorm(3), bias_init=jinit.he_normal())
    wrong = lambda key, shape, dtype: jnp.zeros(7)
    check(ValueError, "of shape \\(2, 2\\)", linear, weight_init=wrong)
    for weight in (jnp.ones((2, 5)), jnp.ones(2), [jnp.ones((2, 2))]):
        changed = eqx.tree_at(lambda x: x.weight, linear, weight)
        match = "`weight` is .* made with shape \\(2, 2\\)"
        check(ValueError, match, changed, weight_init=init.ones)
        # Which does not matter for the bias.
        new = reinitialise(changed, bias_init=init.ones, key=key)
        assert (new.bias == 1).all()
    no_bias = eqx.nn.Linear(2, 2, use_bias=False, key=key)
    is_leaf = lambda x: x is None
    changed = eqx.tree_at(lambda x: x.bias, no_bias, jnp.ones(2), is_leaf=is_leaf)
    check(ValueError, "`bias` is .* made with shape None", changed, bias_init=init.ones)
    new = reinitialise([no_bias], **constants(2, 3), key=key)
    assert new[0].bias is None and (new[0].weight == 2).all()


def test_transformations(getkey):
    key = getkey()
    model = layers(key)
    model = {x: model[x] for x in ("MLP", "GRUCell", "Conv2d", "LayerNorm")}
    fn = lambda model, key: reinitialise(model, weight_init=init.normal(), key=key)
    with jax.checking_leaks():
        jitted = eqx.filter_jit(fn)(model, key)
    assert eqx.tree_equal(fn(model, key), jitted, rtol=1e-5, atol=1e-6)
    struct = eqx.filter_eval_shape(fn, model, key)
    assert jtu.tree_structure(struct) == jtu.tree_structure(model)
    linear = eqx.nn.Linear(2, 3, key=getkey())
    ensemble = eqx.filter_vmap(fn, in_axes=(None, 0))(linear, jrandom.split(key, 3))
    assert len(np.unique(np.asarray(ensemble.weight))) > 12
