"""Runs each recipe of the documentation, and checks what it promises."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from fork.upstream import ROOT
from test_docs import examples


def close(x, y, rtol=1e-5, atol=1e-5):
    np.testing.assert_allclose(x, y, rtol, atol)


def gram(weight):
    """Of the rows or of the columns, whichever are fewer."""
    return weight @ weight.T if len(weight) < len(weight.T) else weight.T @ weight


def ppo(actor, critic, **_):
    for mlp, last_gain in ((actor, 0.01), (critic, 1.0)):
        for layer, gain in zip(mlp.layers, (2**0.5, 2**0.5, last_gain)):
            matrix = gram(layer.weight)
            close(matrix, gain**2 * jnp.eye(len(matrix)))
            assert jnp.all(layer.bias == 0)
    assert critic(jnp.ones(4)).shape == ()
    actions = jax.nn.softmax(jax.vmap(actor)(jr.normal(jr.key(1), (100, 4))))
    close(actions, 0.5, atol=0.02)


def gpt2(model, **_):
    ends, others = [], []
    for block in model:
        attention, (up, down) = block.attention, block.mlp.layers
        ends += [attention.output_proj.weight, down.weight]
        others += [attention.query_proj.weight, attention.key_proj.weight, up.weight]
        assert jnp.all(block.norm1.weight == 1) and jnp.all(block.norm2.weight == 1)
        assert jnp.all(up.bias == 0) and jnp.all(down.bias == 0)
    for weight in others:
        close(weight.std(), 0.02, rtol=0.05)
    for weight in ends:
        close(weight.std(), 0.02 / 12**0.5, rtol=0.05)


def neural_ode(flow, **_):
    y = jr.normal(jr.key(1), (10, 2))
    change = jnp.abs(jax.vmap(flow)(y) - y).max()
    assert 0 < change < 0.05


def siren(siren, omega, **_):
    first, *others = siren.layers
    assert 0.45 < jnp.abs(first.weight).max() <= 0.5
    limit = (6 / 256) ** 0.5 / omega
    for layer in others:
        assert 0.9 * limit < jnp.abs(layer.weight).max() <= limit
    # As the paper derives: but for biases, what enters a sine has a deviation of one.
    x = jr.uniform(jr.key(1), (1000, 2), minval=-1, maxval=1)
    for layer, following in zip(siren.layers, others[:-1]):
        x = jnp.sin(omega * jax.vmap(layer)(x))
        close((omega * x @ following.weight.T).std(), 1.0, atol=0.1)


def input_convex(icnn, **_):
    x, y = jr.normal(jr.key(1), (2, 1000, 2))
    f = jax.vmap(icnn)
    assert jnp.all(f((x + y) / 2) <= (f(x) + f(y)) / 2 + 1e-5)
    assert jnp.any(f((x + y) / 2) < (f(x) + f(y)) / 2 - 1e-3)


def lora(linear, adapted, **_):
    x = jr.normal(jr.key(1), (64,))
    assert jnp.all(adapted(x) == linear(x))
    grad = jax.grad(lambda b: jnp.sum(eqx.tree_at(lambda m: m.b, adapted, b)(x)))
    assert jnp.any(grad(adapted.b).weight != 0)


def icnr(upsample, pixel_shuffle, scale, **_):
    image = pixel_shuffle(upsample(jr.normal(jr.key(1), (16, 8, 8))), scale)
    assert image.shape == (3, 16, 16)
    nearest = image[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2)
    close(image, nearest)
    assert image.std() > 0.1


def zero_branches(resnet, **_):
    x = jr.normal(jr.key(1), (16, 8, 8))
    for block in resnet:
        assert jnp.all(block(x) == x)
    assert jnp.all(resnet[0].norm1.weight == 1)


def forget_gate(cell, cells, **_):
    for each in (cell, *cells):
        gates = jnp.split(each.bias, 4)
        assert [bool(jnp.all(gate == 1)) for gate in gates] == [
            False,
            True,
            False,
            False,
        ]


def sweep(mlps, stddevs, **_):
    weight = mlps.layers[1].weight
    assert weight.shape == (3, 5, 64, 64)
    close(weight.std(axis=(2, 3)) / stddevs[:, None], 1.0, atol=0.05)
    assert len(np.unique(weight[..., 0, 0])) == 15


def lsuv(mlp, batch, **_):
    x = batch
    for layer in mlp.layers:
        x = jax.vmap(layer)(x)
        close(x.std(), 1.0)
        x = jax.nn.relu(x)


def shrink_and_perturb(warm, trained, fresh, **_):
    old, new = trained.layers[1].weight, fresh.layers[1].weight
    close(warm.layers[1].weight, 0.5 * old + 0.1 * new)
    assert jnp.any(old != new)
    assert warm(jnp.ones(2)).shape == (2,)


def mup(make_mup, **_):
    def scale(width):
        x = jr.normal(jr.key(1), (32,))
        models = eqx.filter_vmap(lambda key: make_mup(width, key))
        return eqx.filter_vmap(lambda m: m(x))(models(jr.split(jr.key(2), 200))).std()

    # The first output falls as the square root of the width.
    close(scale(64) / scale(1024), 4.0, rtol=0.2)


def shards(large, abstract, rows, init, key, **_):
    assert large(jnp.ones(64)).shape == (64,)
    for layer in large.layers:
        assert layer.weight.sharding == rows
        assert jnp.all(layer.bias == 0)
    expected = eqx.nn.reinitialise(abstract, weight_init=init.he_normal(), key=key)
    for layer, other in zip(large.layers, expected.layers):
        close(layer.weight, other.weight)


CHECKS = {
    "PPO's actor and critic": ppo,
    "GPT-2: scaled residual projections": gpt2,
    "A neural ODE that starts near the identity": neural_ode,
    "SIREN": siren,
    "Input-convex networks: non-negative weights": input_convex,
    "LoRA: A and B": lora,
    "ICNR: sub-pixel upsampling without a checkerboard": icnr,
    "Residual branches that start at zero": zero_branches,
    "Forget-gate bias": forget_gate,
    "An ensemble, and a sweep of `stddev`": sweep,
    "LSUV: scale by data": lsuv,
    "Shrink and perturb": shrink_and_perturb,
    "muP: widths that can be scaled up": mup,
    "Straight into shards": shards,
}
HEAD, *SECTIONS = (ROOT / "docs" / "recipes.md").read_text("utf-8").split("\n## ")
RECIPES = {section.partition("\n")[0]: section for section in SECTIONS}


def code(section):
    (found,) = examples(section)
    return found


def test_all_are_checked():
    assert list(CHECKS) == list(RECIPES)


@pytest.mark.parametrize("title", CHECKS)
def test_recipe(title):
    names = {}
    exec(code(HEAD) + code(RECIPES[title]), names)
    names.pop("__builtins__")
    CHECKS[title](**names)
