"""Uses libraries that are built on Equinox, and prints what came of it as JSON.

The figures are the same on the fork and on upstream. On the fork, the layers of one
model of each library are also drawn again, and what that promises is checked.
"""

import json
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax


KEY = jr.PRNGKey(0)


def use_lineax():
    import lineax as lx

    mlp = eqx.nn.MLP(4, 4, 8, 1, key=KEY)
    matrix = jax.jacobian(mlp)(jnp.ones(4)) + 2 * jnp.eye(4)
    operator = lx.MatrixLinearOperator(matrix)
    solution = lx.linear_solve(operator, jnp.arange(4.0))
    return mlp, [solution.value, operator.mv(solution.value)]


def use_optimistix():
    import optimistix as optx

    mlp = eqx.nn.MLP(2, 2, 8, 2, jnp.tanh, key=KEY)
    params, static = eqx.partition(mlp, eqx.is_array)
    x = jr.normal(KEY, (16, 2))

    def residual(params, _):
        return jax.vmap(eqx.combine(params, static))(x) - jnp.sin(x)

    solver = optx.LevenbergMarquardt(rtol=1e-4, atol=1e-4)
    found = optx.least_squares(residual, solver, params, max_steps=20, throw=False)
    return mlp, [jnp.sum(residual(found.value, None) ** 2)]


def use_diffrax():
    import diffrax as dfx

    class NeuralODE(eqx.Module):
        field: eqx.nn.MLP

        def __call__(self, y0, ts):
            term = dfx.ODETerm(lambda t, y, args: self.field(y))
            saveat = dfx.SaveAt(ts=ts)
            solution = dfx.diffeqsolve(
                term, dfx.Tsit5(), ts[0], ts[-1], 0.1, y0, saveat=saveat
            )
            return solution.ys

    model = NeuralODE(eqx.nn.MLP(2, 2, 16, 2, jnp.tanh, key=KEY))
    ts = jnp.linspace(0.0, 1.0, 5)
    y0 = jr.normal(KEY, (8, 2))
    target = y0[:, None] * jnp.exp(-ts)[None, :, None]

    def loss_fn(model):
        return jnp.mean((jax.vmap(model, (0, None))(y0, ts) - target) ** 2)

    trained, losses = train(model, loss_fn, 10)
    assert losses[-1] < losses[0]
    return trained, losses


def train(model, loss_fn, num_steps):
    optimiser = optax.adam(1e-2)
    state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(model, state):
        loss, grads = eqx.filter_value_and_grad(loss_fn)(model)
        updates, state = optimiser.update(grads, state)
        return eqx.apply_updates(model, updates), state, loss

    losses = []
    for _ in range(num_steps):
        model, state, loss = step(model, state)
        losses.append(loss)
    return model, losses


def use_flowjax():
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow
    from flowjax.train import fit_to_data

    flow = coupling_flow(KEY, base_dist=Normal(jnp.zeros(2)), flow_layers=2)
    data = jr.normal(KEY, (200, 2)) * jnp.array([1.0, 3.0])
    fitted, losses = fit_to_data(
        KEY, flow, data, learning_rate=1e-2, max_epochs=5, show_progress=False
    )
    assert losses["train"][-1] < losses["train"][0]
    return fitted, [*losses["train"], fitted.log_prob(jnp.ones(2))]


def use_equimo():
    from equimo.models import VisionTransformer

    model = VisionTransformer(
        img_size=16,
        in_channels=3,
        dim=32,
        patch_size=4,
        num_heads=[2],
        depths=[2],
        num_classes=10,
        key=KEY,
    )
    model = eqx.nn.inference_mode(model)
    return model, [model(jr.normal(KEY, (3, 16, 16)), key=KEY)]


def use_distreqx():
    from distreqx.distributions import Independent, Normal

    mlp = eqx.nn.MLP(2, 4, 16, 1, key=KEY)
    x = jr.normal(KEY, (32, 2))

    def loss_fn(mlp):
        mean, log_scale = jnp.split(jax.vmap(mlp)(x), 2, axis=1)
        normal = Independent(Normal(mean, jnp.exp(log_scale)))
        return -normal.log_prob(jnp.sin(x)) / len(x)

    return train(mlp, loss_fn, 5)


def use_jaxnasium():
    import jaxnasium
    from jaxnasium.algorithms import PPO

    env = jaxnasium.make("CartPole-v1")
    ppo = PPO(total_timesteps=2048, num_envs=4, num_steps=64, log_function=None)
    trained, _ = ppo.train(KEY, env)
    return trained, jax.tree.leaves(eqx.filter(trained, eqx.is_inexact_array))


def check_reinitialise(name, model):
    """Zero biases, everything else as it was; and then all weights anew."""
    layers = []

    def every(path, layer):
        """Selects the layers of Equinox, and of these also the scales of norms."""
        if not type(layer).__module__.startswith("equinox."):
            return False
        layers.append(path)
        return {"weight_init": eqx.nn.init.normal(0.5)}

    def biases_only(path, layer):
        return bool(every(path, layer))

    def is_kind(kind):
        keystr = jax.tree_util.keystr
        is_named = lambda path: getattr(path[-1], "name", "").startswith(kind)
        return lambda path: is_named(path) and keystr(path[:-1]) in layers

    flatten = lambda tree: jax.tree_util.tree_flatten_with_path(
        eqx.filter(tree, eqx.is_array)
    )

    def check(is_drawn, is_new, **kwargs):
        """Draws one kind of parameter, and nothing else."""
        new_leaves, new_structure = flatten(eqx.nn.reinitialise(model, **kwargs))
        again, _ = flatten(eqx.nn.reinitialise(model, **kwargs))
        old_leaves, structure = flatten(model)
        assert new_structure == structure
        assert all(np.array_equal(x, y) for (_, x), (_, y) in zip(new_leaves, again))
        num_drawn = 0
        for (path, old), (_, new) in zip(old_leaves, new_leaves, strict=True):
            assert old.shape == new.shape and old.dtype == new.dtype
            assert is_new(old, new) if is_drawn(path) else np.array_equal(old, new), (
                path
            )
            num_drawn += is_drawn(path)
        assert num_drawn > 0
        return num_drawn

    key = jr.PRNGKey(1)
    is_zero = lambda old, new: not np.any(new)
    zeros = dict(bias_init=eqx.nn.init.zeros, select=biases_only, key=key)
    biases = check(is_kind("bias"), is_zero, **zeros)
    differs = lambda old, new: not np.array_equal(old, new)
    weights = check(is_kind("weight"), differs, select=every, key=key)
    print(f"{name}: {biases} biases zero, {weights} weights drawn", file=sys.stderr)


def main():
    results = {}
    for name, use in list(globals().items()):
        if name.startswith("use_"):
            library = name.removeprefix("use_")
            model, figures = use()
            flat = np.concatenate([np.ravel(np.asarray(x)) for x in figures])
            assert np.isfinite(flat).all() and len(flat) > 0
            results[library] = {"figures": flat.astype(np.float64).tolist()}
            if hasattr(eqx.nn, "reinitialise"):
                check_reinitialise(library, model)
    print(json.dumps({"equinox": eqx.__version__, "libraries": results}))


if __name__ == "__main__":
    main()
