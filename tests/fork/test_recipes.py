"""Runs each recipe of the documentation, and checks what it promises."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from fork.upstream import ROOT
from test_docs import examples, slug


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
    ends, others = [], [model.token.weight, model.position.weight]
    assert jnp.all(model.norm.weight == 1)
    for block in model.blocks:
        attention, (up, down) = block.attention, block.mlp.layers
        ends += [attention.output_proj.weight, down.weight]
        others += [
            getattr(attention, f"{x}_proj").weight for x in ("query", "key", "value")
        ]
        others += [up.weight]
        assert jnp.all(block.norm1.weight == 1) and jnp.all(block.norm2.weight == 1)
        assert jnp.all(up.bias == 0) and jnp.all(down.bias == 0)
    for weight in others:
        close(weight.std(), 0.02, rtol=0.05)
    for weight in ends:
        close(weight.std(), 0.02 / 12**0.5, rtol=0.05)


def by_pattern(model, drawn, by_pattern, patterns, key, init, **_):
    first, second, last = drawn["mlp"].layers
    close(last.weight.std(), 0.01, rtol=0.15)
    assert jnp.all(last.bias == 0) and jnp.all(
        second.bias == model["mlp"].layers[1].bias
    )
    close(second.weight.std(), (2 / 64) ** 0.5, rtol=0.05)
    close(drawn["embedding"].weight.std(), 0.02, rtol=0.3)
    assert jnp.all(drawn["layers"][0].weight == 1)
    with pytest.raises(ValueError, match="head"):
        by_pattern(model, dict(patterns, head=dict(bias_init=init.zeros)), key)


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


def forget_gate(cell, model, **_):
    for each in (cell, *model["cells"]):
        gates = jnp.split(each.bias, 4)
        assert [bool(jnp.all(gate == 1)) for gate in gates] == [
            False,
            True,
            False,
            False,
        ]


def sweep(mlps, stddevs, ensemble, members, outputs, x, **_):
    weight = mlps.layers[1].weight
    assert weight.shape == (3, 5, 64, 64)
    close(weight.std(axis=(2, 3)) / stddevs[:, None], 1.0, atol=0.05)
    assert len(np.unique(weight[..., 0, 0])) == 15
    he, orthogonal, default = ensemble.layers[1].weight
    close(he.std(), (2 / 64) ** 0.5, rtol=0.05)
    close(gram(orthogonal), 2 * jnp.eye(64))
    assert jnp.abs(default).max() <= 1 / 8
    close(outputs[1], jax.vmap(members[1])(x))


def lsuv(mlp, batch, **_):
    x = batch
    for layer in mlp.layers:
        x = jax.vmap(layer)(x)
        close(x.std(), 1.0)
        x = jax.nn.relu(x)


def fan_in_bias(model, drawn, **_):
    for name, fan_in in dict(conv=4 * 9, linear=64).items():
        bias, limit = drawn[name].bias, fan_in**-0.5
        assert 0.9 * limit < jnp.abs(bias).max() <= limit
        assert jnp.all(bias != model[name].bias)
        assert jnp.all(drawn[name].weight == model[name].weight)
    assert jnp.all(drawn["norm"].bias == 0)


def fused(fused, model, **_):
    limit = (6 / 128) ** 0.5
    for linear in (fused, *model):
        for weight in jnp.split(linear.weight, len(linear.weight) // 64):
            assert 0.99 * limit < jnp.abs(weight).max() <= limit


def experts(experts, Experts, init, key, **_):
    for weight in experts.weight:
        close(weight.T @ weight, jnp.eye(32))
    assert jnp.any(experts.weight[0] != experts.weight[1])
    he = Experts((8, 64, 32), key=key)
    close(he.weight.std(axis=(1, 2)), (2 / 64) ** 0.5, rtol=0.1)


def scaled_and_shifted(norm, half, **_):
    close(norm.weight.mean(), 1.0, atol=0.01)
    close(norm.weight.std(), 0.02, rtol=0.2)
    close(half.weight @ half.weight.T, 0.25 * jnp.eye(64))


def truncated(linear, **_):
    close(linear.weight.std(), 0.02, rtol=0.01)
    assert jnp.abs(linear.weight).max() < 2 * 0.02 / 0.87


def mamba(mamba, new_mamba, **_):
    steps = jax.nn.softplus(new_mamba.step_proj.bias)
    assert jnp.all((0.001 <= steps) & (steps <= 0.1)) and steps.max() > 10 * steps.min()
    assert eqx.tree_equal(mamba.step_proj, new_mamba.step_proj)
    assert jnp.all(new_mamba.log_a == mamba.log_a)
    assert jnp.all(new_mamba.in_proj.bias == 0)
    assert jnp.all(new_mamba.in_proj.weight != mamba.in_proj.weight)


def not_drawn(left, **_):
    biases = [f"['mlp'].layers[{i}].bias" for i in (0, 1)]
    assert left == [*biases, "['norm'].weight", "['norm'].bias"]


def by_name(linear, inits, from_config, init, **_):
    assert list(inits.values()) == [init.truncated_normal(0.02), init.zeros]
    assert from_config("ones") == init.ones
    close(linear.weight.std(), 0.02 * 0.88, rtol=0.1)
    assert jnp.all(linear.bias == 0)
    with pytest.raises(ValueError, match="he_norm.*he_normal"):
        from_config("he_norm")


def chrono(cell, **_):
    input, forget, cell, output = jnp.split(cell.bias, 4)
    assert jnp.all(input == -forget) and jnp.all(cell == 0) and jnp.all(output == 0)
    assert jnp.all((0 <= forget) & (forget < jnp.log(99))) and forget.max() > jnp.log(
        95
    )


def again(net, new_net, mlp, revived, batch, **_):
    assert eqx.tree_equal(net.body, new_net.body)
    assert eqx.tree_equal(net.heads[0], new_net.heads[0])
    assert jnp.all(net.heads[1].weight != new_net.heads[1].weight)
    active = jnp.any(jax.vmap(mlp.layers[0])(batch) > 0, axis=0)
    assert 0 < active.sum() < 64
    is_old = (mlp.layers[0].weight == revived.layers[0].weight).all(axis=1)
    assert jnp.all(is_old == active)
    close(jax.vmap(mlp)(batch), jax.vmap(revived)(batch))


def shrink_and_perturb(warm, trained, fresh, mix, **_):
    old, new = trained.layers[1].weight, fresh.layers[1].weight
    close(warm.layers[1].weight, 0.5 * old + 0.1 * new)
    assert jnp.any(old != new)
    norm = eqx.nn.LayerNorm(2)
    assert eqx.tree_equal(jax.tree.map(mix, norm, norm), norm)
    assert warm(jnp.ones(2)).shape == (2,)


def mup(make_mup, wide, **_):
    base = make_mup(64, jr.key(1)).layers[2].weight
    close(base.std(), 1 / 8, rtol=0.3)
    close(
        make_mup(1024, jr.key(1)).layers[1].weight.std(), (2 / 1024) ** 0.5, rtol=0.01
    )
    close(wide.layers[2].weight.std(), 1 / 128, rtol=0.1)
    close(wide.layers[1].weight.std(), (2 / 1024) ** 0.5, rtol=0.01)

    def scale(width):
        x = jr.normal(jr.key(1), (32,))
        models = eqx.filter_vmap(lambda key: make_mup(width, key))
        return eqx.filter_vmap(lambda m: m(x))(models(jr.split(jr.key(2), 200))).std()

    # The first output falls as the square root of the width.
    close(scale(64) / scale(1024), 4.0, rtol=0.2)


CHECKS = {
    "PPO's actor and critic": ppo,
    "GPT-2 in one pass": gpt2,
    "Patterns, as from a configuration": by_pattern,
    "muP: widths that can be scaled up": mup,
    "Biases by the fan-in of their layer": fan_in_bias,
    "Query, key and value in one layer": fused,
    "Experts in one array": experts,
    "Scaling or shifting any initialiser": scaled_and_shifted,
    "A truncated normal of the standard deviation that was asked for": truncated,
    "Draws that a global pass must leave alone": mamba,
    "Which arrays were not drawn?": not_drawn,
    "An initialiser by name, from a configuration": by_name,
    "A neural ODE that starts near the identity": neural_ode,
    "SIREN": siren,
    "Input-convex networks: non-negative weights": input_convex,
    "LoRA: A and B": lora,
    "ICNR: sub-pixel upsampling without a checkerboard": icnr,
    "Residual branches that start at zero": zero_branches,
    "Forget-gate bias": forget_gate,
    "Chrono gates, for a known time span": chrono,
    "A head again, or dead units only": again,
    "An ensemble, and a sweep of `stddev`": sweep,
    "LSUV: scale by data": lsuv,
    "Shrink and perturb": shrink_and_perturb,
}
HEAD, *SECTIONS = (ROOT / "docs" / "recipes.md").read_text("utf-8").split("\n## ")
RECIPES = {section.partition("\n")[0]: section for section in SECTIONS}


def code(section):
    return "\n".join(examples(section))


def test_all_are_checked():
    assert list(CHECKS) == list(RECIPES)
    listed = re.findall(r"\]\(#([\w-]+)\)", HEAD)
    assert sorted(listed) == sorted(map(slug, RECIPES))


@pytest.mark.parametrize("title", CHECKS)
def test_recipe(title):
    names = {}
    exec(code(HEAD) + code(RECIPES[title]), names)
    names.pop("__builtins__")
    CHECKS[title](**names)
