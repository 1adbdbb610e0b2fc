"""Uses libraries that are built on Equinox, and prints what came of it as JSON.

The figures are the same on the fork and on upstream. On the fork, the layers of one
model of each library are also drawn again, and what that promises is checked.
"""

import inspect
import json
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax


KEY = jr.PRNGKey(0)
NORMS = (eqx.nn.BatchNorm, eqx.nn.GroupNorm, eqx.nn.LayerNorm, eqx.nn.RMSNorm)
INITS = {"weight_init", "bias_init"}
keystr = jax.tree_util.keystr
is_equinox = lambda layer: type(layer).__module__.startswith("equinox.")


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


def use_pdequinox():
    from pdequinox.arch import ClassicFNO, ClassicUNet

    fno = ClassicFNO(1, 1, 1, hidden_channels=4, num_modes=4, num_blocks=2, key=KEY)
    unet = ClassicUNet(1, 1, 1, hidden_channels=4, num_levels=1, key=KEY)
    x = jnp.linspace(0.0, 2 * jnp.pi, 16, endpoint=False)
    u = jnp.sin(x + jnp.arange(4.0)[:, None])[:, None]

    def loss_fn(models):
        shifted = jnp.roll(u, 1, axis=-1)
        return sum(jnp.mean((jax.vmap(f)(u) - shifted) ** 2) for f in models)

    return train((fno, unet), loss_fn, 5)


def use_memax():
    from memax.equinox.train_utils import (
        get_residual_memory_models,
        loss_regress_terminal_output,
    )

    names = ["LRU", "S6", "FFM", "NMax"]
    models = get_residual_memory_models(3, 8, 1, num_layers=1, models=names, key=KEY)
    x = jr.normal(KEY, (4, 6, 3))

    def loss_fn(models):
        loss_of = lambda f: loss_regress_terminal_output(f, x, x[:, 0, :1], KEY)[0]
        return sum(map(loss_of, models.values()))

    return train(models, loss_fn, 3)


if sys.version_info >= (3, 12):

    def use_klax():
        import klax

        mlp = klax.nn.MLP(2, 1, [8], weight_wrap=klax.NonNegative, key=KEY)
        ficnn = klax.nn.FICNN(2, 1, [8, 8], key=KEY)
        spd = klax.nn.ConstantSPDMatrix(2, key=KEY)
        x = jr.normal(KEY, (32, 2))

        def loss_fn(models):
            mlp, ficnn, spd = klax.finalize(models)
            error = lambda x: mlp(x) + ficnn(x) + x @ spd(x) @ x - jnp.sum(x**2)
            return jnp.mean(jax.vmap(error)(x) ** 2)

        return train((mlp, ficnn, spd), loss_fn, 5)

else:

    def use_megalodon_jax():
        from megalodon_jax import MegalodonConfig, MegalodonForCausalLM

        config = MegalodonConfig(
            vocab_size=16,
            model_dim=16,
            num_layers=2,
            z_dim=8,
            value_dim=16,
            ffn_hidden_dim=16,
            cema_ndim=4,
            chunk_size=8,
            norm_num_groups=4,
        )
        model = MegalodonForCausalLM(config, key=KEY)
        tokens = jr.randint(KEY, (2, 8), 0, 16)
        return train(model, lambda m: m.compute_loss(tokens, tokens), 3)


def holder(path):
    """The layer that holds an array as a weight or a bias, if so: its path, the kind,
    and whether the array is in a box."""
    is_boxed = False
    for i, entry in reversed(list(enumerate(path))):
        if isinstance(entry, jax.tree_util.GetAttrKey):
            for kind in ("weight", "bias"):
                # A box counts only by the very name.
                if entry.name == kind or (entry.name.startswith(kind) and not is_boxed):
                    return keystr(path[:i]), kind, is_boxed
            is_boxed = True
    return None


def expect(arrays, held, layers):
    """The arrays that a plain call has to draw, and to refuse, by their paths.

    No model has a `WeightNorm`, whose `g` follows its weight, or a layer that takes an
    initialiser for an array of another name."""
    assert layers.keys() == {name for name, _, _ in held.values()}
    drawn, refused = set(), set()
    for path, (name, kind, is_boxed) in held.items():
        layer = layers[name]
        arguments = inspect.signature(type(layer)).parameters
        is_norm = isinstance(layer, NORMS) or arrays[path].ndim < 2
        is_scale = kind == "weight" and is_norm
        lacks_init = not is_scale and f"{kind}_init" not in arguments
        # Without initialisers, the constructor is not called.
        is_made = not INITS.isdisjoint(arguments) and not is_equinox(layer)
        others = arguments.keys() - INITS - {"key", "dtype"}
        is_lost = is_made and not all(hasattr(layer, x) for x in others)
        if is_boxed or lacks_init or is_lost:
            refused.add(name)
        elif not is_scale:
            drawn.add(path)
    # A layer is refused as a whole.
    refused = {path for path, (name, _, _) in held.items() if name in refused}
    return drawn - refused, refused


def check_reinitialise(model):
    """Draws each layer alone, then all together, and counts what becomes of each array:
    drawn, left as it was, or refused in an error."""
    flatten = lambda tree: dict(
        jax.tree_util.tree_flatten_with_path(eqx.filter(tree, eqx.is_array))[0]
    )
    arrays, layers = flatten(model), {}
    held = {path: found for path in arrays if (found := holder(path))}
    bits = lambda x: (x.shape, x.dtype, np.asarray(x).tobytes())
    old = {path: bits(x) for path, x in arrays.items()}
    normal = eqx.nn.init.normal(0.5)

    def draw(select=None, weight_init=normal):
        """What is drawn, by its path, and the message of an error."""
        inits = dict(weight_init=weight_init, bias_init=normal)
        try:
            new = eqx.nn.reinitialise(model, **inits, select=select, key=jr.PRNGKey(1))
        except ValueError as e:
            message = str(e)
            return {}, "" if message.startswith("Nothing was drawn") else message
        assert jax.tree.structure(new) == jax.tree.structure(model)
        new = {path: bits(x) for path, x in flatten(new).items()}
        assert all(new[path][:2] == old[path][:2] for path in old)
        return {path: x for path, x in new.items() if x != old[path]}, ""

    def draws_nothing(path, layer):
        layers[path] = layer

    assert draw(draws_nothing) == ({}, "")
    drawn, refused, messages = {}, set(), {}
    for name, layer in layers.items():
        own = {path for path in held if held[path][0] == name}
        new, message = draw(lambda path, _: path == name)
        assert new.keys() <= own
        drawn |= new
        if message:
            kind = f"{type(layer).__module__}.{type(layer).__qualname__}"
            begin = f"Cannot draw `{kind}` at `{name or '(root)'}`: "
            assert message.startswith(begin)
            why, _, _ = message.removeprefix(begin).partition(". (To leave it")
            assert messages.setdefault(kind, why) == why
            refused |= own
    assert (drawn.keys(), refused) == expect(arrays, held, layers)
    names = {held[path][0] for path in refused}
    others = lambda path, _: path not in names
    biases = {path: x for path, x in drawn.items() if held[path][1] == "bias"}
    assert draw(others) == draw(others) == (drawn, "")
    assert draw(others, weight_init=None) == (biases, "")
    half = eqx.nn.init.constant(0.5)
    for path, x in draw(others, weight_init=half)[0].items():
        if held[path][1] == "weight":
            assert x == bits(jnp.full_like(arrays[path], 0.5))
    _, message = draw()
    assert any(f"`{kind}`" in message for kind in messages) == bool(messages)
    left = arrays.keys() - drawn.keys() - refused
    assert len(arrays) == len(drawn) + len(left) + len(refused)
    counts = dict(drawn=len(drawn), left=len(left), refused=len(refused))
    return {"arrays": len(arrays), **counts, "messages": messages}


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
                results[library]["reinitialise"] = check_reinitialise(model)
    print(json.dumps({"equinox": eqx.__version__, "libraries": results}))


if __name__ == "__main__":
    main()
