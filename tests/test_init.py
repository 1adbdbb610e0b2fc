import math
import pickle

import equinox as eqx
import jax
import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jrandom
import jax.tree_util as jtu
import numpy as np
import pytest


init = eqx.nn.init


def test_layout_of_jax(getkey):
    key = getkey()
    wkey, bkey = jrandom.split(key)
    he_normal = jinit.he_normal()
    kwargs = dict(weight_init=he_normal, bias_init=jinit.normal(), key=key)
    bias = jinit.normal()(bkey, (4,), jnp.float32)
    linear = eqx.nn.Linear(3, 4, **kwargs)
    assert (linear.weight == he_normal(wkey, (3, 4), jnp.float32).T).all()
    assert (linear.bias == bias).all()
    conv = eqx.nn.Conv2d(3, 4, (5, 2), **kwargs)
    kernel = he_normal(wkey, (5, 2, 3, 4), jnp.float32)
    assert (conv.weight == kernel.transpose(3, 2, 0, 1)).all()
    assert (conv.bias == bias[:, None, None]).all()
    # A transposed convolution is that of JAX.
    conv = eqx.nn.ConvTranspose2d(3, 4, (5, 2), stride=2, use_bias=False, **kwargs)
    x = jrandom.normal(getkey(), (6, 6, 3))
    expected = jax.lax.conv_transpose(x[None], kernel, (2, 2), "VALID")[0]
    y = conv(x.transpose(2, 0, 1)).transpose(1, 2, 0)
    assert np.allclose(y, expected, atol=1e-5)


def test_groups_and_blocks(getkey):
    key = getkey()
    wkey, _ = jrandom.split(key)
    he_normal = jinit.he_normal()
    expected = [he_normal(k, (3, 3, 4), jnp.float32) for k in jrandom.split(wkey)]
    for cls in (eqx.nn.Conv1d, eqx.nn.ConvTranspose1d):
        conv = cls(6, 8, 3, groups=2, weight_init=he_normal, key=key)
        stored = jnp.concatenate(expected, axis=-1).transpose(2, 1, 0)
        assert np.allclose(conv.weight, stored)
    blocks = init.blocks(he_normal, 2)
    assert np.allclose(blocks(wkey, (3, 3, 8)), jnp.concatenate(expected, axis=-1))
    assert init.blocks(init.ones, 2)(key, (4,)).tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="^`num_blocks` must divide 5, for `init`"):
        blocks(key, (3, 5))
    with pytest.raises(ValueError, match="^`num_blocks` must be at least one"):
        init.blocks(init.ones, 0)


def test_none_is_default(getkey):
    key = getkey()
    nn = eqx.nn
    for cls, args, kwargs in (
        (nn.Linear, (3, "scalar"), dict(use_bias=False)),
        (nn.Conv, (1, 4, 6, 3), dict(groups=2)),
        *((conv, (4, 6, 3), {}) for conv in (nn.Conv1d, nn.Conv2d, nn.Conv3d)),
        *((getattr(nn, f"ConvTranspose{n}d"), (4, 6, 3), {}) for n in (1, 2, 3)),
        *((nn.MLP, (3, 4, 5, depth), {}) for depth in (0, 3)),
        *((nn.MLP, (3, 4, 5, depth), dict(scan=True)) for depth in (1, 3)),
        (nn.MultiheadAttention, (2, 4), dict(use_key_bias=True)),
    ):
        make = lambda **inits: cls(*args, **kwargs, **inits, key=key)
        default = make()
        assert eqx.tree_equal(make(weight_init=None, bias_init=None), default)
        # What is given for one parameter leaves the other one as it was.
        zero_bias, one_weight = make(bias_init=init.zeros), make(weight_init=init.ones)
        assert jtu.tree_structure(zero_bias) == jtu.tree_structure(default)
        arrays = lambda x: jtu.tree_leaves_with_path(eqx.filter(x, eqx.is_array))
        models = map(arrays, (default, zero_bias, one_weight))
        for (path, x), (_, y), (_, z) in zip(*models):
            is_bias = path[-1].name == "bias"
            assert (y == (0 if is_bias else x)).all()
            assert (z == (x if is_bias else 1)).all()


def test_mlp(getkey):
    key = getkey()
    inits = [init.constant(1), init.normal(), None, init.constant(3), None]
    kwargs = dict(weight_init=inits, bias_init=tuple(inits), key=key)
    mlp, scan_mlp = (eqx.nn.MLP(2, 3, 4, 4, scan=x, **kwargs) for x in (False, True))
    default = eqx.nn.MLP(2, 3, 4, 4, key=key)
    for i, value in ((0, 1), (2, None), (3, 3), (4, None)):
        for name in ("weight", "bias"):
            x, y = (getattr(m.layers[i], name) for m in (mlp, default))
            assert (x == (y if value is None else value)).all()
    stack = jtu.tree_map(lambda *xs: jnp.stack(xs), *mlp.layers[1:-1])
    assert eqx.tree_equal(scan_mlp.layers, (mlp.layers[0], stack, mlp.layers[-1]))
    for bad in ([], [init.zeros] * 2, [init.zeros] * 4):
        with pytest.raises(ValueError, match=r"^`bias_init`.*\(=3\).*input layer"):
            eqx.nn.MLP(2, 2, 2, 2, bias_init=bad, key=key)
    shapes = []  # A stack is drawn at once.

    def spy(key, shape, dtype):
        shapes.append(shape)
        return jrandom.normal(key, shape, dtype)

    mlp = eqx.nn.MLP(2, 3, 4, 9, weight_init=spy, scan=True, key=key)
    assert shapes == [(2, 4), (4, 4), (4, 3)]
    assert len(np.unique(mlp.layers[1].weight)) > 0.9 * 8 * 4 * 4


def test_attention(getkey):
    use = {f"use_{name}_bias": True for name in ("query", "key", "value", "output")}
    kwargs = dict(num_heads=2, query_size=4, **use, key=getkey())
    default = eqx.nn.MultiheadAttention(**kwargs)
    inits = dict(weight_init={"query": init.ones}, bias_init={"output": init.zeros})
    attention = eqx.nn.MultiheadAttention(**inits, **kwargs)
    get = lambda a: (a.query_proj.weight, a.output_proj.bias)
    weight, bias = get(attention)
    assert (weight == 1).all() and (bias == 0).all()
    assert eqx.tree_equal(eqx.tree_at(get, attention, get(default)), default)
    with pytest.raises(
        ValueError, match="^`bias_init` has the keys \\['out'\\].*'query'"
    ):
        eqx.nn.MultiheadAttention(bias_init={"out": init.zeros}, **kwargs)


def test_draw(getkey):
    assert init.draw(init.ones, getkey(), 3).tolist() == [1, 1, 1]
    assert init.draw(jinit.zeros, getkey(), [2, 1], jnp.int8).dtype == jnp.int8
    assert init.draw(jinit.he_normal(), getkey(), (0, 4)).shape == (0, 4)
    with pytest.raises(TypeError, match="^`kernel_init` must be a function.*constant"):
        init.draw(init.normal, getkey(), (3, 3), name="kernel_init")


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn])
def test_small_dtypes_are_rounded_once(dtype, getkey):
    for initialiser in (jinit.normal(1.0), jinit.orthogonal(), init.he_normal()):
        kwargs = dict(weight_init=initialiser, key=getkey())
        weight = eqx.nn.Linear(100, 100, dtype=dtype, **kwargs).weight
        wide_weight = eqx.nn.Linear(100, 100, **kwargs).weight
        assert weight.dtype == dtype and (weight == wide_weight.astype(dtype)).all()


@pytest.mark.parametrize("name", ["weight_init", "bias_init"])
def test_mistakes(name, getkey):
    make = lambda x: eqx.nn.Conv1d(4, 4, 3, groups=2, **{name: x}, key=getkey())
    complex_ones = lambda key, shape, dtype: jnp.ones(shape, jnp.complex64)
    for error, match, bad in (
        (TypeError, "must return an array.*`he_normal\\(\\)`", jinit.he_normal),
        (TypeError, "must return an array", lambda key, shape, dtype: 0.0),
        (TypeError, "must return float32. Got complex64", complex_ones),
        (
            ValueError,
            "must return .* of shape",
            lambda key, shape, dtype: jnp.zeros((7, *shape)),
        ),
    ):
        with pytest.raises(error, match=f"^`{name}` {match}"):
            make(bad)

    def fails(key, shape, dtype):
        raise ZeroDivisionError("as it is")

    for error, bad in ((ZeroDivisionError, fails), (TypeError, init.he_normal)):
        with pytest.raises(error) as e:
            make(bad)
        if hasattr(e.value, "__notes__"):  # Python >= 3.11
            note = "".join(e.value.__notes__)
            assert f"`{name}` was called as `init(key, shape, dtype)`" in note
            assert ("`he_normal()`" in note) == (error is TypeError)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4, 6)])
def test_same_as_jax(shape, dtype, getkey):
    calls = [("constant", 2.5), ("normal",), ("normal", 3.0), ("orthogonal", 2.0)]
    calls += [("variance_scaling", 0.7, "fan_out", "normal")]
    for name in ("glorot", "xavier", "he", "kaiming", "lecun"):
        calls += [(f"{name}_normal",), (f"{name}_uniform",)]
    calls += [("delta_orthogonal", 2.0)] if len(shape) > 2 else []
    calls += [("truncated_normal",)] if dtype == jnp.float32 else []
    make = lambda module: [getattr(module, name)(*args) for name, *args in calls]
    pairs = [(init.zeros, jinit.zeros), *zip(make(init), make(jinit))]
    if dtype == jnp.float32:
        ours = init.truncated_normal(2.0, -1, 3)
        pairs.append((ours, jinit.truncated_normal(2.0, lower=-1.0, upper=3.0)))
        pairs.append((init.uniform(0, 2), jinit.uniform(2.0)))
    for ours, theirs in pairs:
        key = getkey()
        out = ours(key, shape, dtype)
        assert out.dtype == dtype and (out == theirs(key, shape, dtype)).all()


def test_distributions(getkey):
    key, shape = getkey(), (300, 300)
    out = init.uniform(-1, 3)(key, shape, jnp.complex64)
    for part in (init.uniform(-1, 3)(key, shape), out.real, out.imag):
        assert -1 <= part.min() < -0.99 and 2.99 < part.max() <= 3
    out = init.truncated_normal(3.0, -8, 8)(key, shape, jnp.complex64)
    for part in (out.real, out.imag):
        assert float(part.std()) == pytest.approx(3 / math.sqrt(2), rel=0.03)
    out = init.fan_in_uniform()(key, shape)
    assert float(jnp.abs(out).max()) == pytest.approx(300**-0.5, rel=1e-3)
    for sparsity, num_zeros in [(0, 0), (0.1, 3), (1 / 3, 10), (0.35, 11), (1, 30)]:
        out = init.sparse(sparsity, stddev=2.0)(key, (4, 50, 30))
        assert ((out == 0).sum(axis=-1) == num_zeros).all()
        mean_square = 4 * (1 - num_zeros / 30)
        assert float((out**2).mean()) == pytest.approx(mean_square, rel=0.1)


def test_identity(getkey):
    for sizes in [(4, 4), (3, 5), (5, 3)]:
        assert (init.identity(3.0)(getkey(), sizes) == 3 * np.eye(*sizes)).all()
    x = jrandom.normal(getkey(), (4, 5, 6))
    kwargs = dict(padding="SAME", use_bias=False, weight_init=init.identity())
    for size, groups in [(3, 1), (3, 2), (2, 1), ((3, 2), 4)]:
        conv = eqx.nn.Conv2d(4, 4, size, groups=groups, **kwargs, key=getkey())
        assert (conv(x) == x).all()


def test_calculate_gain():
    gain = init.calculate_gain
    assert gain("linear") == gain("conv_transpose3d") == gain("sigmoid") == 1
    assert gain("tanh") == 5 / 3 and gain("relu") == 2**0.5 and gain("selu") == 3 / 4
    assert gain("leaky_relu", 0.5) == pytest.approx(math.sqrt(1.6))
    assert gain(jax.nn.gelu) == pytest.approx(1.534, abs=1e-3)
    assert gain(np.tanh) == pytest.approx(1.5925, abs=1e-3)
    assert jax.jit(lambda x: gain(jnp.sin) * x)(1.0) == pytest.approx(gain(jnp.sin))
    with pytest.raises(ValueError, match="^`nonlinearity` must be .*tanh"):
        gain("gelu")
    for bad in (jax.nn.softmax, jnp.cumsum, lambda x: 0 * x, lambda x: 1 / (0 * x)):
        with pytest.raises(ValueError, match="^`nonlinearity` must act elementwise"):
            gain(bad)


def test_values():
    values = [init.zeros, init.ones, init.uniform(-1, 2), init.normal(0.5)]
    values += [init.truncated_normal(0.5, -1, 3), init.fan_in_uniform()]
    values += [init.glorot_normal(), init.he_uniform(), init.orthogonal(0.5)]
    values += [init.delta_orthogonal(0.5), init.identity(0.5), init.sparse(0.5, 0.1)]
    values += [init.blocks(init.he_normal(), 3)]
    for i, x in enumerate(values):
        assert [x == y for y in values] == [i == j for j in range(len(values))]
        assert eval(repr(x), vars(init)) == x
        y = pickle.loads(pickle.dumps(x))
        assert x == y and hash(x) == hash(y)
    assert hash(init.he_normal()) != hash(init.lecun_uniform())
    names = {type(x).__name__ for x in values} | {"zeros", "draw", "Initializer"}
    assert names <= set(dir(init)) and not {"jax", "Module"} & set(dir(init))
    for name in dir(init):
        assert f"`{name}" in init.__doc__


def test_arrays_as_numbers(getkey):
    draw = lambda x: x(jrandom.PRNGKey(0), (5, 5))
    weights = eqx.filter_vmap(draw)(init.normal(jnp.array([0.1, 1.0])))
    assert np.allclose(weights[0], draw(init.normal(0.1)))
    zeros = eqx.filter_vmap(draw)(init.sparse(jnp.array([0.0, 0.5, 1.0]))) == 0
    assert zeros.sum(axis=(1, 2)).tolist() == [0, 15, 25]


def test_bad_values():
    scaling = init.variance_scaling
    for make, match in (
        (lambda: init.truncated_normal(1, 2, 1), "`lower` must be at most `upper`"),
        (lambda: init.uniform(0, math.nan), "`minval` must be at most `maxval`"),
        (lambda: init.sparse(np.float32(1.5)), "`sparsity` must be between 0 and 1"),
        (lambda: scaling(-1, "fan_in", "normal"), "`scale` must not be negative"),
        (lambda: init.fan_in_uniform()(None, (3,)), "`fan_in_uniform` needs"),
    ):
        with pytest.raises(ValueError, match=f"^{match}"):
            make()
