"""Measures how other libraries initialise, and writes `docs/peers.json`.

Run by `make peers`, with PyTorch, Flax, Keras, Haiku and the fork installed.
"""

import json
import math
import os
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


PATH = Path(__file__).resolve().parents[2] / "docs" / "peers.json"
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


def record(what, measure, **weights):
    """Applies `measure` to the weights as drawn by each library."""
    row = {}
    for library, weight in weights.items():
        weight = weight.detach() if isinstance(weight, torch.Tensor) else weight
        row[library] = float(f"{measure(np.asarray(weight, np.float64)):.3g}")
    figures[what] = row


def by_haiku(make, *shape):
    """The weight of a Haiku module."""
    module = hk.transform(lambda x: make()(x))
    ((params),) = module.init(KEY, jnp.zeros(shape)).values()
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

versions = dict(
    pytorch=torch.__version__,
    flax=flax.__version__,
    keras=keras.__version__,
    haiku=hk.__version__,
    jax=jax.__version__,
)
PATH.write_text(json.dumps(dict(versions=versions, figures=figures), indent=2) + "\n")
print(f"wrote {PATH}")
