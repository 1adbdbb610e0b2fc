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
both = dict(weight_init=init.constant(2), bias_init=init.constant(3))


class Own(eqx.Module):
    weight: jax.Array
    bias: jax.Array
    size: int

    def __init__(self, size, *, weight_init=None, bias_init=init.ones, key):
        weight_init = init.lecun_normal() if weight_init is None else weight_init
        self.weight = init.draw(weight_init, key, (size, size), name="weight_init")
        self.bias = init.draw(bias_init, key, size, name="bias_init")
        self.size = size


class Model(eqx.Module):
    linear: eqx.nn.Linear
    norm: eqx.nn.LayerNorm
    cell: eqx.nn.LSTMCell
    own: Own
    mlp: eqx.nn.MLP

    def __init__(self, key):
        self.linear = eqx.nn.Linear(3, 4, key=key)
        self.norm = eqx.nn.LayerNorm((3, 4))
        self.cell = eqx.nn.LSTMCell(3, 4, key=key)
        self.own = Own(3, key=key)
        self.mlp = eqx.nn.MLP(2, 2, 4, 3, scan=True, key=key)


def values(model):
    """The weight and the bias of each layer; `None` unless it has a single value."""
    layers = [model.linear, model.norm, model.cell, model.own, *model.mlp.layers]
    weight = lambda x: x.weight_hh if isinstance(x, eqx.nn.LSTMCell) else x.weight
    value = lambda x: x.ravel()[0].item() if (x == x.ravel()[0]).all() else None
    return [value(weight(x)) for x in layers], [value(x.bias) for x in layers]


def test_every_layer(getkey):
    key = getkey()
    model = [
        eqx.nn.Conv(1, 4, 6, 3, groups=2, dtype=jnp.float16, key=key),
        eqx.nn.Conv2d(4, 6, 3, padding="SAME", dilation=2, key=key),
        eqx.nn.ConvTranspose2d(4, 6, 3, 2, 1, (1, 0), dtype=jnp.complex64, key=key),
        eqx.nn.GRUCell(3, 4, key=key),
        eqx.nn.LSTMCell(3, 4, use_bias=False, key=key),
        eqx.nn.Embedding(3, 2, key=key),
        eqx.nn.RMSNorm(4),
        eqx.nn.GroupNorm(2, 4),
        eqx.nn.BatchNorm(4, "batch", mode="ema"),
        eqx.nn.MultiheadAttention(2, 4, use_output_bias=True, key=key),
        Model(key),
    ]
    new = reinitialise(model, select=lambda *_: both, key=getkey())
    assert jtu.tree_structure(new) == jtu.tree_structure(model)
    flat, _ = jtu.tree_flatten_with_path(eqx.filter(new, eqx.is_array))
    for (path, x), y in zip(flat, jtu.tree_leaves(eqx.filter(model, eqx.is_array))):
        assert x.shape == y.shape and x.dtype == y.dtype
        name = getattr(path[-1], "name", "")
        expected = 2 if name.startswith("weight") else 3 if "bias" in name else y
        assert (x == expected).all()


def test_what_is_not_given_stays(getkey):
    model = Model(getkey())
    new = reinitialise(model, bias_init=init.constant(3), key=getkey())
    assert values(new)[1] == [3] * 7 and new.own.weight is model.own.weight
    # A scale is no weight.
    new = reinitialise(model, weight_init=init.constant(2), key=getkey())
    assert values(new)[0] == [2, 1, 2, 2, 2, 2, 2] and new.own.bias is model.own.bias
    # Nor is a gate drawn that is not named.
    forget = dict(bias_init={"forget": init.ones, "input": None}, key=getkey())
    bias = model.cell.bias.at[4:8].set(1)
    assert (reinitialise(model.cell, **forget).bias == bias).all()
    cell = reinitialise(model.cell, weight_init={"hh": init.zeros}, key=getkey())
    assert not cell.weight_hh.any() and (cell.weight_ih == model.cell.weight_ih).all()


def test_defaults(getkey):
    model = reinitialise(Model(getkey()), select=lambda *_: both, key=getkey())
    new = reinitialise(model, key=getkey())
    assert values(new)[0][:4] == [None, 1, None, None]
    assert values(new)[1][:4] == [None, 0, None, 1]
    assert 0.2 < jnp.abs(new.cell.weight_hh).max() <= 0.5


def test_where(getkey):
    model, kwargs = Model(getkey()), dict(**both, key=getkey())
    new = reinitialise(model, where=lambda m: (m.own, m.mlp.layers[1:]), **kwargs)
    assert values(new)[0] == [None, 1, None, 2, None, 2, 2]
    # A norm that is named itself is drawn, and one in a container is not.
    assert (
        reinitialise(model, where=lambda m: m.norm, **kwargs).norm.weight == 2
    ).all()
    new = reinitialise([[model.norm, model.linear]], where=lambda m: m[0], **kwargs)
    assert (new[0][0].weight == 1).all() and (new[0][1].weight == 2).all()
    with pytest.raises(ValueError, match="^`where` must return modules"):
        reinitialise(model, where=lambda m: (m.own, m.linear.bias), **kwargs)
    with pytest.raises(ValueError, match="occurs once"):
        reinitialise([model.own, model.own], where=lambda m: m[0], **kwargs)


def test_select(getkey):
    model = Model(getkey())
    rules = {
        ".linear": dict(weight_init=init.constant(4)),
        ".norm": dict(weight_init=init.constant(5), bias_init=None),
        ".cell": {},
        ".own": True,
        ".mlp.layers[0]": None,
        ".mlp.layers[1]": False,
        ".mlp.layers[2]": dict(bias_init=init.constant(6)),
    }
    select = lambda path, layer: rules[path]
    new = reinitialise(model, select=select, **both, key=getkey())
    assert values(new)[0] == [4, 5, 2, 2, None, None, 2]
    assert values(new)[1] == [3, 0, 3, 3, None, None, 6]
    # Without arguments of the call, what a dictionary does not name stays.
    select = lambda path, layer: layer is model.linear and rules[path]
    new = reinitialise(model, select=select, key=getkey())
    assert (new.linear.weight == 4).all() and new.linear.bias is model.linear.bias
    for bad in (1, np.bool_(True), init.zeros, {"weight": init.zeros}):
        with pytest.raises((TypeError, ValueError), match="^`select` must return"):
            reinitialise(model, select=lambda *_: bad, key=getkey())


def test_stacks(getkey):
    ensemble = eqx.filter_vmap(eqx.filter_vmap(Model))(jrandom.split(getkey(), (2, 5)))
    new = reinitialise(ensemble, weight_init=jinit.orthogonal(), key=getkey())
    for x in (new.own.weight, new.mlp.layers[1].weight):
        for matrix in x.reshape(-1, *x.shape[-2:]):
            assert np.allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-5)
        assert len(np.unique(np.asarray(x).round(6))) > 0.9 * x.size
    assert (new.norm.weight == 1).all() and new.norm.weight.shape == (2, 5, 3, 4)
    forget = dict(bias_init={"forget": init.ones}, key=getkey())
    new = reinitialise(ensemble, where=lambda m: m.cell, **forget)
    assert (new.cell.bias == ensemble.cell.bias.at[:, :, 4:8].set(1)).all()


class Scaled(eqx.Module):
    kernel: jax.Array
    gain: jax.Array
    weight_mask: jax.Array

    def __init__(self, gain, *, weight_init=None, key):
        self.gain = jnp.asarray(gain)
        self.weight_mask = jnp.tri(3)
        self.kernel = self.gain * init.draw(weight_init, key, (3, 3))


def test_arguments_and_buffers(getkey):
    make = lambda gain: Scaled(gain, weight_init=init.zeros, key=getkey())
    stack = eqx.filter_vmap(make)(jnp.arange(3.0))  # As many as a row is long.
    stack = eqx.tree_at(lambda x: x.weight_mask, stack, jnp.ones((3, 3, 3)))
    new = reinitialise(stack, weight_init=init.ones, key=getkey())
    assert (new.kernel == jnp.arange(3.0)[:, None, None]).all()
    assert new.gain is stack.gain and new.weight_mask is stack.weight_mask


def test_dtypes(getkey):
    cast = lambda x: x.astype(jnp.bfloat16) if eqx.is_inexact_array(x) else x
    model = jtu.tree_map(cast, Model(getkey()))
    model = eqx.tree_at(lambda m: m.linear.bias, model, jnp.zeros(4))
    new = reinitialise(model, bias_init=init.constant(0.1), key=getkey())
    assert (new.linear.bias == np.float32(0.1)).all()
    assert (new.own.bias == jnp.asarray(0.1, jnp.bfloat16)).all()


def test_abstract_and_jit(getkey):
    key = getkey()
    rule = lambda path, _: path != ".cell" or dict(bias_init={"forget": init.ones})
    inits = dict(weight_init=init.he_normal(), bias_init=init.zeros, select=rule)
    fn = lambda model, key: reinitialise(model, **inits, key=key)
    struct = eqx.filter_eval_shape(Model, key)
    new = fn(struct, key)
    assert (new.norm.weight == 1).all() and (new.cell.bias[4:8] == 1).all()
    for model in (struct, new):
        jitted = eqx.filter_jit(fn)(model, key)
        assert eqx.tree_equal(fn(model, key), jitted, rtol=1e-5, atol=1e-6)


def test_weight_norm_and_shared(getkey):
    key = getkey()
    make = lambda key: eqx.nn.WeightNorm(eqx.nn.Linear(3, 4, key=key))
    for model in (make(key), eqx.filter_vmap(make)(jrandom.split(key))):
        new = reinitialise(model, weight_init=init.normal(5.0), key=getkey())
        norm = jnp.linalg.norm(new.layer.weight, axis=-1, keepdims=True)
        assert np.allclose(new.g, norm, rtol=1e-5)
        assert reinitialise(model, bias_init=init.ones, key=key).g is model.g
    pair = eqx.nn.Embedding(3, 2, key=key), eqx.nn.Linear(2, 3, key=key)
    shared = eqx.nn.Shared(pair, lambda x: x[1].weight, lambda x: x[0].weight)
    new = reinitialise(shared, **both, key=key)()
    assert new[1].weight is new[0].weight and (new[0].weight == 2).all()


class Masked(eqx.nn.Linear):
    def __init__(self, size, *, key):
        super().__init__(size, size, key=key)
        self.weight = jnp.tril(self.weight)


class Box(eqx.Module):
    array: jax.Array


def test_refuses(getkey):
    key = getkey()
    linear = eqx.nn.Linear(2, 2, key=key)
    box = eqx.tree_at(lambda x: x.weight, linear, Box(linear.weight))
    for model, why in (
        (eqx.tree_at(lambda x: x.weight, linear, jnp.ones(3)), "dtypes differ"),
        (box, "makes an array for Box"),
        (Masked(2, key=key), "draws no weight by `weight_init`"),
    ):
        name = f"`{type(model).__module__}.{type(model).__qualname__}` at `\\[1\\]`"
        with pytest.raises(ValueError, match=f"^Cannot draw {name}: .*{why}.*`select`"):
            reinitialise([linear, model], weight_init=init.zeros, key=key)
        select = lambda path, layer: layer is not model
        new = reinitialise([linear, model], **both, select=select, key=key)
        assert (new[0].weight == 2).all() and eqx.tree_equal(new[1], model)
    # What is not drawn does not matter, and a dictionary draws as the base does.
    assert (reinitialise(box, bias_init=init.ones, key=key).bias == 1).all()
    new = reinitialise(Masked(2, key=key), select=lambda *_: {}, **both, key=key)
    assert (new.weight == 2).all() and (new.bias == 3).all()
    for model in (jnp.ones(3), eqx.nn.LayerNorm(3)):
        with pytest.raises(ValueError, match="^Nothing was drawn"):
            reinitialise([model], weight_init=init.ones, key=key)

    def fails(key, shape, dtype):
        raise ZeroDivisionError("as it is")

    with pytest.raises(ZeroDivisionError, match="^as it is") as e:
        reinitialise([linear], weight_init=fails, key=key)
    if hasattr(e.value, "__notes__"):  # Python >= 3.11
        assert "`equinox.nn._linear.Linear` at `[0]`" in "".join(e.value.__notes__)
