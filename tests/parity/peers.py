"""Measures how other libraries initialise.

Writes the figures of `docs/migration.md` to `docs/peers.json`, and what they draw to
`quantiles.npz`, which `test_parity.py` compares with. With `--check`, it compares with
these files instead. Run by `make peers` and `make parity`, with PyTorch, Flax, Keras,
Haiku and the fork installed.
"""

import json
import math
import os
import sys
from pathlib import Path


os.environ["KERAS_BACKEND"] = "jax"

import equinox as eqx
import flax
import flax.nnx as nnx
import haiku as hk
import jax
import jax.nn.initializers as jinit
import jax.numpy as jnp
import keras
import numpy as np
import torch


KEY = jax.random.key(0)
SHAPE = (1000, 1000)
init, tinit, hinit, kinit = (
    eqx.nn.init,
    torch.nn.init,
    hk.initializers,
    keras.initializers,
)
torch.manual_seed(0)
keras.utils.set_random_seed(0)
rngs = nnx.Rngs(0)
figures = {}


def as_array(weight):
    weight = weight.detach() if isinstance(weight, torch.Tensor) else weight
    return np.asarray(weight, np.float64)


def record(what, measure, **weights):
    """Applies `measure` to the weights as drawn by each library."""
    rounded = lambda weight: float(f"{measure(as_array(weight)):.3g}")
    figures[what] = {library: rounded(x) for library, x in weights.items()}


def by_haiku(make, *shape):
    """The weight of a Haiku module."""
    module = hk.transform(lambda x: make()(x))
    (params,) = module.init(KEY, jnp.zeros(shape)).values()
    return params["w"]


def by_keras(layer, *shape):
    layer.build(shape)
    return layer.weights[0].numpy()


def in_haiku(initializer):
    return by_haiku(lambda: hk.Linear(1000, w_init=initializer), 1000)


truncated = dict(
    here=init.truncated_normal(0.02)(KEY, SHAPE, jnp.float32),
    pytorch=tinit.trunc_normal_(torch.empty(SHAPE), std=0.02),
    flax=nnx.initializers.truncated_normal(0.02)(KEY, SHAPE),
    keras=kinit.TruncatedNormal(stddev=0.02)(SHAPE),
    haiku=in_haiku(hinit.TruncatedNormal(0.02)),
)
record(
    "truncated normal: largest value / `stddev`", lambda w: w.max() / 0.02, **truncated
)
record("truncated normal: std / `stddev`", lambda w: w.std() / 0.02, **truncated)

record(
    "Glorot or Xavier normal: largest value / std",
    lambda w: w.max() / w.std(),
    here=init.glorot_normal()(KEY, SHAPE, jnp.float32),
    pytorch=tinit.xavier_normal_(torch.empty(SHAPE)),
    flax=nnx.initializers.glorot_normal()(KEY, SHAPE),
    keras=kinit.GlorotNormal()(SHAPE),
)
record(
    '`"normal"` in variance scaling: largest value / std',
    lambda w: w.max() / w.std(),
    here=init.variance_scaling(1.0, "fan_avg", "normal")(KEY, SHAPE, jnp.float32),
    flax=nnx.initializers.variance_scaling(1.0, "fan_avg", "normal")(KEY, SHAPE),
    keras=kinit.VarianceScaling(1.0, "fan_avg", "normal")(SHAPE),
    haiku=in_haiku(hinit.VarianceScaling(1.0, "fan_avg", "normal")),
)
record(
    "uniform, by its one number 0.1: smallest value",
    lambda w: w.min(),
    pytorch=tinit.uniform_(torch.empty(SHAPE), 0.1),
    flax=nnx.initializers.uniform(0.1)(KEY, SHAPE),
    keras=kinit.RandomUniform(0.1)(SHAPE),
    haiku=in_haiku(hinit.RandomUniform(0.1)),
)
linear = dict(
    here=eqx.nn.Linear(1024, 256, key=KEY).weight,
    pytorch=torch.nn.Linear(1024, 256).weight,
    flax=nnx.Linear(1024, 256, rngs=rngs).kernel[...],
    keras=by_keras(keras.layers.Dense(256), None, 1024),
    haiku=by_haiku(lambda: hk.Linear(256), 1024),
)
root = math.sqrt(1024)
record("default linear layer: std x √fan_in", lambda w: w.std() * root, **linear)
record(
    "`fan_in_uniform`, `kaiming_uniform_(a=5**0.5)`: largest value x √fan_in",
    lambda w: w.max() * root,
    here=eqx.nn.Linear(1024, 256, weight_init=init.fan_in_uniform(), key=KEY).weight,
    pytorch=tinit.kaiming_uniform_(torch.empty(256, 1024), a=5**0.5),
)
record(
    "default embedding: std",
    np.std,
    here=eqx.nn.Embedding(1000, 256, key=KEY).weight,
    pytorch=torch.nn.Embedding(1000, 256).weight,
    flax=nnx.Embed(1000, 256, rngs=rngs).embedding[...],
    keras=by_keras(keras.layers.Embedding(1000, 256), None),
    haiku=hk.transform(lambda: hk.Embed(1000, 256).embeddings).init(KEY)["embed"][
        "embeddings"
    ],
)

grouped = torch.nn.Conv2d(64, 64, 3, groups=8)
tinit.kaiming_normal_(grouped.weight, mode="fan_out")
scaling = (2.0, "fan_out", "truncated_normal")
record(
    "fan_out of a convolution with eight groups: std / expected",
    lambda w: w.std() / math.sqrt(2 / (8 * 9)),
    here=eqx.nn.Conv2d(
        64, 64, 3, groups=8, weight_init=jinit.variance_scaling(*scaling), key=KEY
    ).weight,
    pytorch=grouped.weight,
    flax=nnx.Conv(
        64,
        64,
        (3, 3),
        feature_group_count=8,
        kernel_init=jinit.variance_scaling(*scaling),
        rngs=rngs,
    ).kernel[...],
    keras=by_keras(
        keras.layers.Conv2D(
            64, 3, groups=8, kernel_initializer=kinit.VarianceScaling(*scaling)
        ),
        *(None, 8, 8, 64),
    ),
    haiku=by_haiku(
        lambda: hk.Conv2D(
            64, 3, feature_group_count=8, w_init=hinit.VarianceScaling(*scaling)
        ),
        *(1, 8, 8, 64),
    ),
)
transposed = torch.nn.ConvTranspose2d(64, 16, 4)
tinit.kaiming_normal_(transposed.weight)
he_normal = jinit.he_normal()
record(
    "fan_in of a transposed convolution, 64 to 16 channels: std / expected",
    lambda w: w.std() / math.sqrt(2 / (64 * 16)),
    here=eqx.nn.ConvTranspose2d(64, 16, 4, weight_init=he_normal, key=KEY).weight,
    pytorch=transposed.weight,
    flax=nnx.ConvTranspose(64, 16, (4, 4), kernel_init=he_normal, rngs=rngs).kernel[
        ...
    ],
    keras=by_keras(
        keras.layers.Conv2DTranspose(16, 4, kernel_initializer="he_normal"),
        *(None, 8, 8, 64),
    ),
    haiku=by_haiku(
        lambda: hk.Conv2DTranspose(
            16, 4, w_init=hinit.VarianceScaling(2.0, "fan_in", "truncated_normal")
        ),
        *(1, 8, 8, 64),
    ),
)
cell = torch.nn.GRUCell(128, 128)
tinit.xavier_uniform_(cell.weight_hh)
keras_cell = keras.layers.GRUCell(128, recurrent_initializer="glorot_uniform")
keras_cell.build((None, 128))
glorot = jinit.glorot_uniform()
flax_cell = nnx.GRUCell(128, 128, recurrent_kernel_init=glorot, rngs=rngs)
record(
    "Glorot on the gates of a GRU cell: std / expected",
    lambda w: w.std() / math.sqrt(2 / 256),
    here=eqx.nn.GRUCell(128, 128, weight_init=glorot, key=KEY).weight_hh,
    pytorch=cell.weight_hh,
    flax=flax_cell.dense_h.kernel[...],
    keras=keras_cell.recurrent_kernel.numpy(),
)


def overlap(cell):
    """How far the columns of a gate are from orthogonal, if gates are side by side."""
    gate = cell[:, :64]
    return np.abs(gate.T @ gate - np.eye(64)).max()


orthogonal = jinit.orthogonal()
gru = torch.nn.GRUCell(64, 64)
keras_gru = keras.layers.GRUCell(64, recurrent_initializer="orthogonal")
keras_gru.build((None, 64))
record(
    "orthogonal gates of a GRU cell: largest element of $|Q^T Q - I|$",
    overlap,
    here=eqx.nn.GRUCell(64, 64, weight_init=orthogonal, key=KEY).weight_hh.T,
    pytorch=tinit.orthogonal_(gru.weight_hh).T,
    flax=nnx.GRUCell(
        64, 64, recurrent_kernel_init=orthogonal, rngs=rngs
    ).dense_h.kernel[...],
    keras=keras_gru.recurrent_kernel.numpy(),
)


def filled(fill, *args, shape=SHAPE, **kwargs):
    tensor = torch.empty(shape)
    getattr(tinit, fill)(tensor, *args, **kwargs)
    return tensor


# What is drawn, by the names that `test_parity.py` has for its counterparts.
conv = torch.nn.Conv2d(256, 320, 3, groups=2)
conv1d, conv3d = torch.nn.Conv1d(256, 512, 3), torch.nn.Conv3d(100, 100, 3)
# With as many inputs as outputs, for which both have the same `fan_in`.
torch_transposed = torch.nn.ConvTranspose2d(200, 200, 3)
gru, lstm = torch.nn.GRUCell(100, 400), torch.nn.LSTMCell(200, 400)
flax_lstm = nnx.LSTMCell(
    512,
    512,
    kernel_init=jinit.glorot_uniform(),
    recurrent_kernel_init=jinit.he_uniform(),
    rngs=rngs,
)
flax_conv = nnx.Conv(256, 320, (3, 3), kernel_init=he_normal, rngs=rngs)
flax_gru = nnx.GRUCell(256, 512, kernel_init=he_normal, rngs=rngs)
flax_attention = nnx.MultiHeadAttention(
    8, 512, 1024, kernel_init=he_normal, decode=False, rngs=rngs
)
keras_attention = keras.layers.MultiHeadAttention(
    8, 128, kernel_initializer="he_normal"
)
keras_attention.build((None, 8, 512), (None, 8, 512))
samples = {
    "pytorch uniform_": filled("uniform_", -0.1, 0.3),
    "pytorch normal_": filled("normal_", std=0.02),
    "pytorch trunc_normal_": filled("trunc_normal_", std=0.02, a=-0.04, b=0.04),
    "pytorch trunc_normal_, default bounds": filled("trunc_normal_", std=1.5),
    # Of the stored shape `(out, in)`.
    "pytorch xavier_uniform_": filled("xavier_uniform_", shape=(2000, 500)),
    "pytorch xavier_normal_": filled("xavier_normal_", shape=(2000, 500)),
    "pytorch kaiming_uniform_": filled("kaiming_uniform_", shape=(2000, 500)),
    "pytorch kaiming_normal_": filled("kaiming_normal_", shape=(2000, 500)),
    "pytorch kaiming_normal_, fan_out": filled(
        "kaiming_normal_", shape=(2000, 500), mode="fan_out"
    ),
    "pytorch orthogonal_": filled("orthogonal_", gain=2.0),
    "pytorch sparse_": filled("sparse_", 0.3, std=0.02),
    "pytorch Linear, weight": torch.nn.Linear(500, 2000).weight,
    "pytorch Linear, bias": torch.nn.Linear(100, 300_000).bias,
    "pytorch Conv2d, weight": conv.weight,
    "pytorch GRUCell, weight_hh": gru.weight_hh,
    "pytorch LSTMCell, weight_ih": lstm.weight_ih,
    "pytorch Conv2d, bias": torch.nn.Conv2d(100, 300_000, 1).bias,
    "pytorch Conv1d, weight": conv1d.weight,
    "pytorch Conv3d, weight": conv3d.weight,
    "pytorch ConvTranspose2d, weight": torch_transposed.weight,
    "pytorch Embedding": torch.nn.Embedding(1000, 1000).weight,
    "keras GlorotUniform": kinit.GlorotUniform()((500, 2000)),
    "keras GlorotNormal": kinit.GlorotNormal()((500, 2000)),
    "keras HeUniform": kinit.HeUniform()((500, 2000)),
    "keras HeNormal": kinit.HeNormal()((500, 2000)),
    "keras LecunUniform": kinit.LecunUniform()((500, 2000)),
    "keras LecunNormal": kinit.LecunNormal()((500, 2000)),
    "keras untruncated_normal": kinit.VarianceScaling(
        1.5, "fan_avg", "untruncated_normal"
    )((500, 2000)),
    "keras TruncatedNormal": kinit.TruncatedNormal(stddev=0.02)(SHAPE),
    "keras RandomUniform": kinit.RandomUniform(-0.1, 0.3)(SHAPE),
    "keras Orthogonal": kinit.Orthogonal(gain=2.0)(SHAPE),
    "keras Conv2D, HeNormal": kinit.HeNormal()((3, 3, 256, 320)),
    "flax lecun_normal": nnx.initializers.lecun_normal()(KEY, (500, 2000)),
    "flax orthogonal": nnx.initializers.orthogonal(2.0)(KEY, SHAPE),
    "flax Linear": nnx.Linear(500, 2000, rngs=rngs).kernel[...],
    "flax Conv": flax_conv.kernel[...],
    "flax ConvTranspose": nnx.ConvTranspose(
        256, 64, (4, 4), kernel_init=he_normal, rngs=rngs
    ).kernel[...],
    "flax LSTMCell, input": flax_lstm.ii.kernel[...],
    "flax LSTMCell, hidden": flax_lstm.hg.kernel[...],
    "flax GRUCell, input": flax_gru.dense_i.kernel[...],
    "flax MultiHeadAttention, query": flax_attention.query.kernel[...],
    "flax MultiHeadAttention, out": flax_attention.out.kernel[...],
    "flax Embed": nnx.Embed(
        1000, 500, embedding_init=jinit.normal(0.02), rngs=rngs
    ).embedding[...],
    "keras Dense": by_keras(keras.layers.Dense(2000), None, 500),
    "keras Conv1D": by_keras(keras.layers.Conv1D(512, 3), None, 8, 256),
    "keras Conv3D": by_keras(
        keras.layers.Conv3D(160, 3, kernel_initializer="he_normal"),
        *(None, 8, 8, 8, 80),
    ),
    "keras GRUCell, input": by_keras(
        keras.layers.GRUCell(500, kernel_initializer="he_uniform"), None, 250
    ),
    "keras MultiHeadAttention, query": keras_attention.weights[0].numpy(),
    "keras Embedding": by_keras(keras.layers.Embedding(1000, 500), None),
    "haiku TruncatedNormal": in_haiku(hinit.TruncatedNormal(0.02)),
}
quantiles, moments = {}, {}
for name, x in samples.items():
    x = as_array(x)
    assert x.size >= 250_000, name
    quantiles[name] = np.quantile(x, np.linspace(0, 1, 257)).astype(np.float32)
    moments[f"{name}: moments"] = [x.mean(), np.sqrt(np.mean(x**2))]

# What is not random, in the layout of PyTorch, which is that of Equinox.
exact = {
    "pytorch zeros_": filled("zeros_", shape=(3, 4)),
    "pytorch ones_": filled("ones_", shape=(3, 4)),
    "pytorch constant_": filled("constant_", 0.3, shape=(3, 4)),
    "pytorch eye_": filled("eye_", shape=(3, 4)),
    "pytorch dirac_": filled("dirac_", shape=(6, 4, 3, 5)),
    "pytorch dirac_, groups": filled("dirac_", groups=2, shape=(6, 2, 3)),
    "keras Identity": as_array(kinit.Identity(2.0)((4, 3))).T,
    "pytorch calculate_gain": [
        *map(tinit.calculate_gain, ("linear", "conv1d", "tanh", "relu", "selu")),
        tinit.calculate_gain("leaky_relu", 0.2),
    ],
}
for name in ("pytorch orthogonal_", "keras Orthogonal", "flax orthogonal"):
    singular_values = np.linalg.svd(as_array(samples[name]), compute_uv=False)
    exact[f"{name}: singular values"] = singular_values[[-1, 0]]

versions = dict(
    pytorch=torch.__version__,
    flax=flax.__version__,
    keras=keras.__version__,
    haiku=hk.__version__,
    jax=jax.__version__,
)
FIGURES = Path(__file__).resolve().parents[2] / "docs" / "peers.json"
QUANTILES = Path(__file__).with_name("quantiles.npz")
if sys.argv[1:] == ["--check"]:
    old_figures = json.loads(FIGURES.read_text("utf-8"))["figures"]
    assert old_figures.keys() == figures.keys()
    for what, row in figures.items():
        for library, value in row.items():
            old = old_figures[what][library]
            # Largest values of a million normals differ from run to run.
            is_close = math.isclose(value, old, rel_tol=0.15, abs_tol=1e-3)
            assert is_close, f"{what}, {library}: {value}, and it was {old}"
    with np.load(QUANTILES) as old_quantiles:
        assert set(old_quantiles) == set(quantiles) | set(moments) | set(exact)
        for name, x in exact.items():
            assert np.allclose(as_array(x), old_quantiles[name]), name
        for name, x in quantiles.items():
            spread = x[-1] - x[0]
            error = np.abs(x - old_quantiles[name])[8:-8].max() / spread
            assert error < 0.01, f"{name}: quantiles differ by {error} of the range"
            (mean, rms), (old_mean, old_rms) = (
                source[f"{name}: moments"] for source in (moments, old_quantiles)
            )
            assert abs(mean - old_mean) < 0.01 * rms, name
            assert abs(rms / old_rms - 1) < 0.01, name
    print(f"{len(figures)} figures and {len(quantiles)} distributions are still true")
else:
    FIGURES.write_text(
        json.dumps(dict(versions=versions, figures=figures), indent=2), "utf-8"
    )
    exact = {name: as_array(x) for name, x in exact.items()}
    np.savez_compressed(QUANTILES, **quantiles, **moments, **exact)
    print(f"wrote {FIGURES} and {QUANTILES}")
