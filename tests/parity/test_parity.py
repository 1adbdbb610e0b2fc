"""What is drawn has the distribution of its counterpart in another library.

`quantiles.npz` is written by `peers.py`, from at least 250,000 values each. As many are
drawn here, with a fixed key, so that nothing is left to chance.
"""

from pathlib import Path

import equinox as eqx
import jax.nn.initializers as jinit
import jax.numpy as jnp
import jax.random as jrandom
import numpy as np
import pytest


init, nn = eqx.nn.init, eqx.nn
KEY = jrandom.PRNGKey(0)


def draw(initialiser, *shape):
    return initialiser(KEY, shape or (1000, 1000), jnp.float32)


def linear(initialiser):
    return nn.Linear(500, 2000, weight_init=initialiser, key=KEY).weight


def scaling(*args):
    return linear(init.variance_scaling(*args))


def conv(initialiser=None, groups=1):
    return nn.Conv2d(
        256, 320, 3, groups=groups, weight_init=initialiser, key=KEY
    ).weight


def lstm(name, initialiser):
    cell = nn.LSTMCell(512, 512, weight_init={name: initialiser}, key=KEY)
    return getattr(cell, f"weight_{name}")


def projection(name):
    sizes = dict(qk_size=128, vo_size=128)
    attention = nn.MultiheadAttention(
        8, 512, **sizes, weight_init=init.he_normal(), key=KEY
    )
    return getattr(attention, f"{name}_proj").weight


COUNTERPARTS = {
    "pytorch uniform_": lambda: draw(init.uniform(-0.1, 0.3)),
    "pytorch normal_": lambda: draw(init.normal(0.02)),
    "pytorch trunc_normal_": lambda: draw(init.truncated_normal(0.02)),
    # Its bounds are values, and ours are multiples of the standard deviation.
    "pytorch trunc_normal_, default bounds": lambda: draw(
        init.truncated_normal(1.5, -2 / 1.5, 2 / 1.5)
    ),
    "pytorch xavier_uniform_": lambda: linear(init.xavier_uniform()),
    # Its normal distributions are not truncated, and ours are.
    "pytorch xavier_normal_": lambda: scaling(1.0, "fan_avg", "normal"),
    "pytorch kaiming_uniform_": lambda: linear(init.kaiming_uniform()),
    "pytorch kaiming_normal_": lambda: scaling(2.0, "fan_in", "normal"),
    "pytorch kaiming_normal_, fan_out": lambda: scaling(2.0, "fan_out", "normal"),
    "pytorch orthogonal_": lambda: draw(init.orthogonal(2.0)),
    "pytorch sparse_": lambda: draw(init.sparse(0.3, 0.02)),
    "pytorch Linear, weight": lambda: nn.Linear(500, 2000, key=KEY).weight,
    "pytorch Linear, bias": lambda: nn.Linear(100, 300_000, key=KEY).bias,
    "pytorch Conv2d, weight": lambda: conv(groups=2),
    "pytorch Conv2d, bias": lambda: nn.Conv2d(100, 300_000, 1, key=KEY).bias,
    "pytorch Conv1d, weight": lambda: nn.Conv1d(256, 512, 3, key=KEY).weight,
    "pytorch Conv3d, weight": lambda: nn.Conv3d(100, 100, 3, key=KEY).weight,
    "pytorch ConvTranspose2d, weight": lambda: (
        nn.ConvTranspose2d(200, 200, 3, key=KEY).weight
    ),
    "pytorch GRUCell, weight_hh": lambda: nn.GRUCell(100, 400, key=KEY).weight_hh,
    "pytorch LSTMCell, weight_ih": lambda: nn.LSTMCell(200, 400, key=KEY).weight_ih,
    "pytorch Embedding": lambda: nn.Embedding(1000, 1000, key=KEY).weight,
    "keras GlorotUniform": lambda: linear(init.glorot_uniform()),
    "keras GlorotNormal": lambda: linear(init.glorot_normal()),
    "keras HeUniform": lambda: linear(init.he_uniform()),
    "keras HeNormal": lambda: linear(init.he_normal()),
    "keras LecunUniform": lambda: linear(init.lecun_uniform()),
    "keras LecunNormal": lambda: linear(init.lecun_normal()),
    "keras untruncated_normal": lambda: scaling(1.5, "fan_avg", "normal"),
    "keras TruncatedNormal": lambda: draw(init.truncated_normal(0.02)),
    "keras RandomUniform": lambda: draw(init.uniform(-0.1, 0.3)),
    "keras Orthogonal": lambda: draw(init.orthogonal(2.0)),
    "keras Conv2D, HeNormal": lambda: conv(init.he_normal()),
    "flax lecun_normal": lambda: linear(init.lecun_normal()),
    "flax orthogonal": lambda: draw(init.orthogonal(2.0)),
    "flax Linear": lambda: linear(jinit.lecun_normal()),
    "flax Conv": lambda: conv(init.he_normal()),
    "flax ConvTranspose": lambda: (
        nn.ConvTranspose2d(256, 64, 4, weight_init=init.he_normal(), key=KEY).weight
    ),
    "flax LSTMCell, input": lambda: lstm("ih", init.glorot_uniform()),
    "flax LSTMCell, hidden": lambda: lstm("hh", init.he_uniform()),
    "flax GRUCell, input": lambda: (
        nn.GRUCell(256, 512, weight_init=init.he_normal(), key=KEY).weight_ih
    ),
    "flax MultiHeadAttention, query": lambda: projection("query"),
    "flax MultiHeadAttention, out": lambda: projection("output"),
    "flax Embed": lambda: (
        nn.Embedding(1000, 500, weight_init=init.normal(0.02), key=KEY).weight
    ),
    "keras Dense": lambda: linear(init.glorot_uniform()),
    "keras Conv1D": lambda: (
        nn.Conv1d(256, 512, 3, weight_init=init.glorot_uniform(), key=KEY).weight
    ),
    "keras Conv3D": lambda: (
        nn.Conv3d(80, 160, 3, weight_init=init.he_normal(), key=KEY).weight
    ),
    "keras GRUCell, input": lambda: (
        nn.GRUCell(250, 500, weight_init=init.he_uniform(), key=KEY).weight_ih
    ),
    "keras MultiHeadAttention, query": lambda: projection("query"),
    "keras Embedding": lambda: (
        nn.Embedding(1000, 500, weight_init=init.uniform(-0.05, 0.05), key=KEY).weight
    ),
    "haiku TruncatedNormal": lambda: draw(init.truncated_normal(0.02)),
}


EXACT = {
    "pytorch zeros_": lambda: draw(init.zeros, 3, 4),
    "pytorch ones_": lambda: draw(init.ones, 3, 4),
    "pytorch constant_": lambda: draw(init.constant(0.3), 3, 4),
    "pytorch eye_": lambda: draw(init.identity(), 3, 4),
    "pytorch dirac_": lambda: (
        nn.Conv2d(4, 6, (3, 5), weight_init=init.identity(), key=KEY).weight
    ),
    "pytorch dirac_, groups": lambda: (
        nn.Conv1d(4, 6, 3, groups=2, weight_init=init.identity(), key=KEY).weight
    ),
    "keras Identity": lambda: (
        nn.Linear(4, 3, weight_init=init.identity(2.0), key=KEY).weight
    ),
    "pytorch calculate_gain": lambda: [
        *map(init.calculate_gain, ("linear", "conv1d", "tanh", "relu", "selu")),
        init.calculate_gain("leaky_relu", 0.2),
    ],
}


@pytest.fixture(scope="module")
def quantiles():
    with np.load(Path(__file__).with_name("quantiles.npz")) as found:
        return dict(found)


def test_all_are_compared(quantiles):
    names = {x for x in quantiles if ": " not in x}
    assert names == set(COUNTERPARTS) | set(EXACT)


@pytest.mark.parametrize("name", COUNTERPARTS)
def test_same_distribution(quantiles, name):
    theirs = quantiles[name]
    ours = np.sort(np.ravel(COUNTERPARTS[name]()))
    probabilities = np.linspace(0, 1, len(theirs))
    # The statistic of Kolmogorov and Smirnov. Where values repeat (those that `sparse`
    # sets to zero), a quantile is as good as the others with the same value.
    below = np.searchsorted(ours, theirs, "left") / len(ours)
    above = np.searchsorted(ours, theirs, "right") / len(ours)
    distance = np.maximum(below - probabilities, probabilities - above)[1:-1].max()
    # Drawn from one distribution, it is above 2.5 times this once in 100,000 times.
    assert len(ours) >= 250_000
    assert distance < 2.5 * np.sqrt(2 / 250_000)
    mean, rms = quantiles[f"{name}: moments"]
    assert abs(ours.mean() - mean) < 0.01 * rms
    assert abs(np.sqrt(np.mean(ours**2)) / rms - 1) < 0.01
    # Bounds: exactly, but for rounding, where there are any.
    spread = theirs[-1] - theirs[0]
    if theirs[-1] - theirs[-2] < 0.05 * spread:
        assert abs(ours[0] - theirs[0]) < 1e-3 * spread
        assert abs(ours[-1] - theirs[-1]) < 1e-3 * spread


@pytest.mark.parametrize("name", EXACT)
def test_same_values(quantiles, name):
    np.testing.assert_allclose(EXACT[name](), quantiles[name], rtol=1e-6)


def test_same_singular_values(quantiles):
    names = [x for x in COUNTERPARTS if f"{x}: singular values" in quantiles]
    assert len(names) == 3
    for name in names:
        ours = np.linalg.svd(COUNTERPARTS[name](), compute_uv=False)
        theirs = quantiles[f"{name}: singular values"]
        np.testing.assert_allclose(ours[[-1, 0]], theirs, rtol=1e-4)


def test_another_distribution_is_told_apart(quantiles):
    normal, he_normal = "pytorch normal_", "keras HeNormal"
    truncated = dict(quantiles, **{normal: quantiles["pytorch trunc_normal_"]})
    wider = dict(quantiles, **{he_normal: 1.05 * quantiles[he_normal]})
    for changed, name in ((truncated, normal), (wider, he_normal)):
        with pytest.raises(AssertionError, match=r"< \(2\.5 \*"):
            test_same_distribution(changed, name)
