import copy
import functools as ft
import inspect
import math
import pickle
from typing import Any

import equinox as eqx
import jax
import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jrandom
import jax.tree_util as jtu
import numpy as np
import pytest
from equinox.nn._initialise import check_initialiser


init = eqx.nn.init


def std(x):
    return math.sqrt(np.mean(np.abs(np.asarray(x)) ** 2))


def both(initialiser) -> dict[str, Any]:
    return dict(weight_init=initialiser, bias_init=initialiser)


class Spy:
    """Records what it is asked for, and draws ones."""

    def __init__(self):
        self.calls = []

    def __call__(self, key, shape, dtype):
        self.calls.append((shape, dtype))
        return jnp.ones(shape, dtype)

    @property
    def shapes(self):
        return [shape for shape, _ in self.calls]


def test_layout_of_jax(getkey):
    spy = Spy()
    eqx.nn.Linear(3, 4, **both(spy), key=getkey())
    eqx.nn.Linear("scalar", "scalar", **both(spy), key=getkey())
    assert spy.shapes == [(3, 4), (4,), (1, 1), (1,)]
    for cls in (eqx.nn.Conv2d, eqx.nn.ConvTranspose2d):
        # Groups are drawn by `vmap`, and so in a single call.
        spy = Spy()
        conv = cls(4, 6, (2, 3), groups=2, **both(spy), key=getkey())
        assert spy.shapes == [(2, 3, 2, 3), (6,)]
        assert conv.weight.shape == (6, 2, 2, 3)
        assert conv.bias is not None and conv.bias.shape == (6, 1, 1)

    key = getkey()
    wkey, bkey = jrandom.split(key)
    he_normal, normal = jinit.he_normal(), jinit.normal()
    linear = eqx.nn.Linear(3, 4, weight_init=he_normal, bias_init=normal, key=key)
    assert np.array_equal(linear.weight, he_normal(wkey, (3, 4), jnp.float32).T)
    assert eqx.tree_equal(linear.bias, normal(bkey, (4,), jnp.float32))
    expected = he_normal(wkey, (5, 2, 3, 4), jnp.float32).transpose(3, 2, 0, 1)
    conv = eqx.nn.Conv2d(3, 4, (5, 2), weight_init=he_normal, key=key)
    assert np.array_equal(conv.weight, expected)
    conv = eqx.nn.ConvTranspose2d(3, 4, (5, 2), weight_init=he_normal, key=key)
    assert np.array_equal(conv.weight, expected[:, :, ::-1, ::-1])
    # Each group is drawn as a convolution of its own.
    conv = eqx.nn.Conv1d(6, 8, 3, groups=2, weight_init=he_normal, key=key)
    for group, group_key in zip(jnp.split(conv.weight, 2), jrandom.split(wkey)):
        expected = he_normal(group_key, (3, 3, 4), jnp.float32).transpose(2, 1, 0)
        assert np.array_equal(group, expected)


def reads_fans(key, shape, dtype):
    return jrandom.normal(key, shape, dtype) / math.sqrt(math.prod(shape[:-1]))


@pytest.mark.parametrize(
    "initialiser, variance",
    [
        (jinit.he_normal(), lambda fan_in, fan_out: 2 / fan_in),
        (lambda *args: jinit.he_uniform()(*args), lambda fan_in, fan_out: 2 / fan_in),
        (reads_fans, lambda fan_in, fan_out: 1 / fan_in),
        (init.he_normal(), lambda fan_in, fan_out: 2 / fan_in),
        (init.fan_in_uniform(), lambda fan_in, fan_out: 1 / (3 * fan_in)),
        (init.glorot_uniform(), lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
        (
            init.variance_scaling(3.0, "fan_out", "normal"),
            lambda fan_in, fan_out: 3 / fan_out,
        ),
    ],
)
def test_fans(initialiser, variance, getkey):
    def check(layer, fan_in, fan_out):
        expected = math.sqrt(variance(fan_in, fan_out))
        assert std(layer.weight) == pytest.approx(expected, rel=0.03)

    kwargs: dict[str, Any] = dict(weight_init=initialiser, key=getkey())
    check(eqx.nn.Linear(512, 128, **kwargs), 512, 128)
    for cls in (eqx.nn.Conv2d, eqx.nn.ConvTranspose2d):
        check(cls(64, 32, 3, **kwargs), 64 * 9, 32 * 9)
        check(cls(64, 256, 3, groups=8, **kwargs), 8 * 9, 32 * 9)
        check(cls(512, 2048, 3, groups=512, **kwargs), 9, 4 * 9)


def test_none_is_default(getkey):
    # What is given for one parameter leaves the other one as it was.
    def check(make, num_biases):
        key = getkey()
        default = make(key=key)
        assert eqx.tree_equal(make(**both(None), key=key), default)
        zero_bias = make(bias_init=init.zeros, key=key)
        one_weight = make(weight_init=init.ones, key=key)

        def leaves(model):
            flat = jtu.tree_flatten_with_path(eqx.filter(model, eqx.is_array))[0]
            names = [jtu.keystr(path) for path, _ in flat]
            weights = [x for name, (_, x) in zip(names, flat) if "weight" in name]
            biases = [x for name, (_, x) in zip(names, flat) if "bias" in name]
            assert len(biases) == num_biases
            return weights, biases

        weights, biases = leaves(default)
        assert eqx.tree_equal(leaves(zero_bias)[0], weights)
        assert eqx.tree_equal(leaves(one_weight)[1], biases)
        assert not any(x.any() for x in leaves(zero_bias)[1])
        assert all((x == 1).all() for x in leaves(one_weight)[0])
        assert jtu.tree_structure(default) == jtu.tree_structure(zero_bias)
        # Nothing is drawn and thrown away.
        arrays = lambda key: eqx.filter(
            make(weight_init=init.ones, bias_init=init.zeros, key=key), eqx.is_array
        )
        draws = str(jax.make_jaxpr(arrays)(key))
        assert "random_bits" not in draws and "threefry2x32" not in draws

    check(ft.partial(eqx.nn.Linear, 3, 4), 1)
    check(ft.partial(eqx.nn.Linear, 3, 4, use_bias=False), 0)
    for name in ("Conv", "ConvTranspose"):
        check(ft.partial(getattr(eqx.nn, name), 2, 4, 6, 3, groups=2), 1)
        for n in (1, 2, 3):
            check(ft.partial(getattr(eqx.nn, f"{name}{n}d"), 4, 6, 3), 1)
    for depth in range(4):
        mlp = ft.partial(eqx.nn.MLP, 3, 4, 5, depth, activation=jnp.tanh)
        check(mlp, depth + 1)
        check(ft.partial(mlp, scan=True), min(depth + 1, 3) + (depth == 1))
    check(ft.partial(eqx.nn.MultiheadAttention, 2, 4), 0)
    check(ft.partial(eqx.nn.MultiheadAttention, 2, 4, use_key_bias=True), 1)


def test_mlp_sequence(getkey):
    key = getkey()
    inits = [init.constant(1), init.constant(2), None, init.constant(3), None]
    for scan in (False, True):
        mlp = eqx.nn.MLP(2, 3, 4, 4, weight_init=inits, scan=scan, key=key)
        default = eqx.nn.MLP(2, 3, 4, 4, scan=scan, key=key)
        weights, defaults = (
            [
                w
                for x in m.layers
                for w in (x.weight if x.weight.ndim == 3 else [x.weight])
            ]
            for m in (mlp, default)
        )
        for weight, initialiser, default in zip(weights, inits, defaults, strict=True):
            expected = default if initialiser is None else initialiser.value
            assert (weight == expected).all()
        for depth in range(4):
            biases = (init.zeros,) * depth + (init.ones,)
            mlp = eqx.nn.MLP(2, 3, 4, depth, bias_init=biases, scan=scan, key=key)
            assert (mlp.layers[-1].bias == 1).all()
            assert all((layer.bias == 0).all() for layer in mlp.layers[:-1])
    # Scanning over layers does not change what they are.
    mlp, scan_mlp = (
        eqx.nn.MLP(2, 3, 4, 3, **both(init.normal()), scan=scan, key=key)
        for scan in (False, True)
    )
    stack = jtu.tree_map(lambda *x: jnp.stack(x), *mlp.layers[1:-1])
    assert eqx.tree_equal(scan_mlp.layers[1], stack, rtol=1e-6)
    for length in (0, 2, 4):
        with pytest.raises(ValueError, match=r"`bias_init`.*\(=3\).*input layer"):
            eqx.nn.MLP(2, 2, 2, 2, bias_init=[init.zeros] * length, key=key)


def test_attention_mapping(getkey):
    key = getkey()
    names = ("query", "key", "value", "output")
    use: dict[str, Any] = {f"use_{name}_bias": True for name in names}
    default = eqx.nn.MultiheadAttention(2, 4, **use, key=key)
    for name in names:
        weight_init: Any = {name: init.ones}
        bias_init: Any = {name: init.zeros, names[0]: None, names[-1]: None}
        attention = eqx.nn.MultiheadAttention(
            2,
            4,
            **use,
            weight_init=weight_init,
            bias_init=bias_init | {name: None},
            key=key,
        )
        for other in names:
            get_weight = lambda x: getattr(x, f"{other}_proj").weight
            if other == name:
                assert (get_weight(attention) == 1).all()
                attention = eqx.tree_at(get_weight, attention, get_weight(default))
        assert eqx.tree_equal(attention, default)
    for argument in ("weight_init", "bias_init"):
        bad: Any = {argument: {"out": init.zeros}}
        with pytest.raises(ValueError, match=f"`{argument}`.*'out'.*'query', 'key', "):
            eqx.nn.MultiheadAttention(2, 4, **bad, key=key)
    # There are no biases by default.
    with pytest.raises(ValueError, match="`bias_init`.*'query'"):
        eqx.nn.MultiheadAttention(2, 4, bias_init={"query": init.zeros}, key=key)
    eqx.nn.MultiheadAttention(2, 4, bias_init=init.zeros, key=key)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn])
def test_small_dtypes_are_rounded_once(dtype, getkey):
    spy = Spy()
    linear = eqx.nn.Linear(2, 2, weight_init=spy, dtype=dtype, key=getkey())
    assert spy.calls == [((2, 2), jnp.float32)] and linear.weight.dtype == dtype
    key = getkey()
    for initialiser in (
        jinit.normal(1.0),
        jinit.orthogonal(),
        jinit.truncated_normal(1.0),
        init.he_normal(),
    ):
        kwargs: dict[str, Any] = dict(weight_init=initialiser, key=key)
        weight = eqx.nn.Linear(100, 100, dtype=dtype, **kwargs).weight
        wide_weight = eqx.nn.Linear(100, 100, **kwargs).weight
        assert jnp.isfinite(weight).all()
        assert np.array_equal(weight, wide_weight.astype(dtype))


def test_not_callable():
    for value, hint in (
        (2.5, r"`eqx.nn.init.constant\(2.5\)`"),
        (np.float32(1), r"`eqx.nn.init.constant\(1.0\)`"),
        (jnp.ones(3), "`eqx.tree_at`"),
        (np.ones(3), "`eqx.tree_at`"),
        ("zeros", r"'zeros'\."),
        ([init.zeros], r"constant\(value=0\)\]\."),
    ):
        with pytest.raises(TypeError, match=f"`bias_init` must be an init.*{hint}"):
            check_initialiser("bias_init", value)


@pytest.mark.parametrize("argument", ["weight_init", "bias_init"])
@pytest.mark.parametrize(
    "make",
    [
        ft.partial(eqx.nn.Linear, 3, 4),
        ft.partial(eqx.nn.Conv2d, 4, 4, 3, groups=2),
        ft.partial(eqx.nn.ConvTranspose1d, 3, 4, 3),
        ft.partial(eqx.nn.MLP, 3, 4, 5, 3),
        ft.partial(eqx.nn.MultiheadAttention, 2, 4, use_output_bias=True),
    ],
)
def test_mistakes(make, argument, getkey):
    def fails(error, match, value):
        with pytest.raises(error, match=f"(?s){argument}.*{match}"):
            make(**{argument: value}, key=getkey())

    for value, hint in (
        (init.he_normal, r"he_normal\(\)"),
        (init.xavier_uniform, r"glorot_uniform\(\)"),
        (init.normal, r"normal\(\)"),
        (init.uniform, r"uniform\(...\)"),
        (init.truncated_normal, r"truncated_normal\(\)"),
        (jinit.he_normal, r"he_normal\(\)"),
        (jinit.constant, r"constant\(...\)"),
        (jnp.zeros, r"lambda key, shape, dtype: zeros\(shape, dtype\)"),
        (np.ones, r"lambda key, shape, dtype: ones\(shape, dtype\)"),
    ):
        fails(TypeError, f"did you mean `{hint}`", value)
    for result in (None, 0.0, [0.0], "zeros", jrandom.key(0)):
        fails(TypeError, "must return an array", lambda k, s, d: result)
    fails(TypeError, "float32.*complex64", lambda k, s, d: jnp.zeros(s, jnp.complex64))
    fails(ValueError, "of shape", lambda k, s, d: jnp.zeros((7,) + s, d))
    fails(ValueError, "of shape", lambda k, s, d: np.zeros(()))

    def raises(key, shape, dtype):
        raise ZeroDivisionError("as it is")

    with pytest.raises(ZeroDivisionError, match="^as it is"):
        make(**{argument: raises}, key=getkey())


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32, jnp.complex64])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (3, 4, 6), (2, 3, 4, 6)])
def test_same_as_jax(shape, dtype, getkey):
    pairs: list[Any] = [
        (init.zeros, jinit.zeros),
        (init.ones, jinit.ones),
        (init.constant(2.5), jinit.constant(2.5)),
        (init.normal(), jinit.normal()),
        (init.normal(3.0), jinit.normal(3.0)),
    ]
    for name in ("glorot", "xavier", "he", "kaiming", "lecun"):
        for end in ("normal", "uniform"):
            ours, theirs = (getattr(x, f"{name}_{end}") for x in (init, jinit))
            pairs.append((ours(), theirs()))
    for mode in ("fan_in", "fan_out", "fan_avg"):
        for distribution in ("truncated_normal", "normal", "uniform"):
            args: Any = (0.7, mode, distribution)
            pairs.append((init.variance_scaling(*args), jinit.variance_scaling(*args)))
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        pairs.append((init.truncated_normal(), jinit.truncated_normal()))
        ours = init.truncated_normal(2.0, -1, 3)
        pairs.append((ours, jinit.truncated_normal(2.0, lower=-1.0, upper=3.0)))
        pairs.append((init.uniform(0, 2), jinit.uniform(2.0)))
    if dtype != jnp.float16:
        pairs.append((init.orthogonal(2.0), jinit.orthogonal(2.0)))
        if len(shape) > 2:
            pairs.append((init.delta_orthogonal(2.0), jinit.delta_orthogonal(2.0)))
    for ours, theirs in pairs:
        key = getkey()
        ours, theirs = ours(key, shape, dtype), theirs(key, shape, dtype)
        assert ours.dtype == theirs.dtype == dtype
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))


def test_fan_in_uniform_is_distribution_of_default(getkey):
    key = getkey()
    linear = eqx.nn.Linear(100, 300, key=key)
    drawn = eqx.nn.Linear(100, 300, weight_init=init.fan_in_uniform(), key=key)
    for weight in (linear.weight, drawn.weight):
        assert std(weight) == pytest.approx(0.1 / math.sqrt(3), rel=0.03)
        assert 0.099 < jnp.abs(weight).max() <= 0.1
    with pytest.raises(ValueError, match=r"`\(\*spatial, in, out\)`"):
        init.fan_in_uniform()(key, (3,))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.complex64])
def test_orthogonal(dtype, getkey):
    atol = 1e-2 if jnp.finfo(dtype).bits == 16 else 1e-5

    def check(matrix, scale):
        matrix = np.asarray(matrix).astype(np.complex64)
        matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        gram = matrix @ matrix.conj().T
        assert np.allclose(gram, scale**2 * np.eye(len(gram)), atol=atol)

    for shape in [(4, 7), (7, 4), (5, 5), (3, 2, 4)]:
        out = init.orthogonal(2.0)(getkey(), shape, dtype)
        assert out.dtype == dtype
        check(out.reshape(-1, shape[-1]) / jnp.asarray(2, dtype), 1)
    delta = init.delta_orthogonal()(getkey(), (4, 3, 5, 6), dtype)
    check(delta[1, 1], 1)
    assert not delta.at[1, 1].set(0).any()
    conv = eqx.nn.Conv1d(
        8, 16, 3, groups=4, weight_init=init.orthogonal(), dtype=dtype, key=getkey()
    )
    for group in jnp.split(conv.weight, 4):
        check(group.reshape(4, -1), 1)


def test_identity(getkey):
    for in_, out in [(4, 4), (3, 5), (5, 3)]:
        linear = eqx.nn.Linear(in_, out, weight_init=init.identity(), key=getkey())
        assert np.array_equal(linear.weight, np.eye(out, in_))
    kwargs: dict[str, Any] = dict(
        weight_init=init.identity(2.0), use_bias=False, padding="SAME", key=getkey()
    )
    x = jrandom.normal(getkey(), (4, 5, 6))
    for size, groups in [(3, 1), (3, 2), (3, 4), (2, 1), (4, 2), ((3, 2), 1)]:
        for cls in (eqx.nn.Conv2d, eqx.nn.ConvTranspose2d):
            conv = cls(4, 4, size, groups=groups, **kwargs)
            assert np.array_equal(conv(x), 2 * x)
    # Two outputs for each group of one input: the second is zero.
    conv = eqx.nn.Conv2d(4, 8, 3, groups=4, **kwargs)
    assert np.array_equal(conv(x)[::2], 2 * x) and not conv(x)[1::2].any()
    with pytest.raises(TypeError, match="int32"):
        init.identity(2.5)(getkey(), (2, 2), jnp.int32)


def test_calculate_gain():
    gain = init.calculate_gain
    assert gain("linear") == gain("conv_transpose3d") == gain("sigmoid") == 1
    assert gain("tanh") == 5 / 3 and gain("relu") == 2**0.5 and gain("selu") == 3 / 4
    assert gain("leaky_relu") == pytest.approx(math.sqrt(2 / (1 + 0.01**2)))
    assert gain("leaky_relu", np.float32(0.5)) == pytest.approx(math.sqrt(1.6))
    for fn, expected in (
        (jax.nn.gelu, 1.534),
        (jax.nn.silu, 1.677),
        (jax.nn.mish, 1.487),
        (jax.nn.elu, 1.245),
        (jnp.sin, 1.521),
        (jax.nn.selu, 1.0),
        (jnp.tanh, 1.5925),
    ):
        assert gain(fn) == pytest.approx(expected, abs=1e-3)
    assert gain(jax.nn.relu) == pytest.approx(math.sqrt(2), abs=1e-6)
    assert jax.jit(lambda x: gain(jnp.sin) * x)(1.0) == pytest.approx(gain(jnp.sin))
    with pytest.raises(ValueError, match="`nonlinearity` must be .*tanh"):
        gain("gelu")
    for bad in (jnp.sum, lambda x: 0 * x, lambda x: 1 / (0 * x)):
        with pytest.raises(ValueError, match="`nonlinearity` must act elementwise"):
            gain(bad)
    with pytest.raises(TypeError):
        gain(["relu"])  # pyright: ignore
    for nonlinearity, param in [("leaky_relu", "0.1"), (jax.nn.relu, 0.1)]:
        with pytest.raises((TypeError, ValueError)):
            gain(nonlinearity, param)  # pyright: ignore


values = [
    init.zeros,
    init.ones,
    init.constant(jnp.arange(3.0)),
    init.uniform(-1, 2),
    init.normal(0.5),
    init.normal(jnp.array(0.5)),
    init.truncated_normal(0.5, -1, 3),
    init.fan_in_uniform(),
    init.variance_scaling(0.5, "fan_avg", "uniform"),
    init.glorot_normal(),
    init.he_uniform(),
    init.lecun_normal(),
    init.orthogonal(0.5),
    init.delta_orthogonal(0.5),
    init.identity(0.5),
    init.sparse(0.5, 0.1),
]


def test_compare_hash_pickle_print():
    for i, x in enumerate(values):
        for j, y in enumerate(values):
            assert bool(x == y) == (i == j)
        for y in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
            assert x == y and hash(x) == hash(y)
        for name in ("value", "scale", "stddev", "something_else"):
            with pytest.raises(AttributeError):
                setattr(x, name, 1)
        if not any(isinstance(leaf, jax.Array) for leaf in jtu.tree_leaves(x)):
            assert eval(repr(x), dict(vars(init))) == x
    assert init.normal(1) == init.normal(1.0) == init.normal(np.float32(1))
    assert hash(init.normal(1)) == hash(init.normal(np.array(1.0)))
    he_normal = init.variance_scaling(2.0, "fan_in", "truncated_normal")
    assert init.he_normal() == init.kaiming_normal() == he_normal
    assert repr(init.he_normal()) == repr(he_normal)
    assert init.xavier_uniform() == init.glorot_uniform()


def test_namespace():
    names = set(dir(init))
    scalings = {f"{x}_{y}" for x in ("he", "lecun") for y in ("normal", "uniform")}
    assert scalings | {type(x).__name__ for x in values} | {"zeros", "ones"} <= names
    assert {name for name in names if name[0] == "_" or name in ("jax", "np")} == set()
    for name in names:
        assert len(inspect.getdoc(getattr(init, name)) or "") > 50


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: init.normal(-1), "`stddev` must be finite.* from 0.0"),
        (lambda: init.normal(math.nan), "`stddev` must be finite"),
        (lambda: init.normal(10**400), "`stddev` must be finite"),
        (lambda: init.truncated_normal(1, 2, 1), "`upper` must be .* from 2.0"),
        (lambda: init.truncated_normal(1, -math.inf), "`lower` must be finite"),
        (lambda: init.uniform(1, 0), "`maxval` must be .* from 1.0"),
        (lambda: init.sparse(1.5), "`sparsity` must be .* from 0.0 to 1.0"),
        (lambda: init.orthogonal(math.inf), "`scale` must be finite"),
        (lambda: init.variance_scaling(-1, "fan_in", "normal"), "`scale` must be"),
        (lambda: init.identity()(jrandom.PRNGKey(0), (3,)), "`identity"),
        (lambda: init.sparse(0.5)(jrandom.PRNGKey(0), (3,)), "`sparse"),
    ],
)
def test_bad_values(make, match):
    with pytest.raises(ValueError, match=match):
        make()
