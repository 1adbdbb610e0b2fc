"""Writes the measured figures into the pages, as Markdown between two marks.

`make bench`, `make peers`, `make downstream`, `make upstream-suite` and `make matrix`
run it, after they have written what they measured to a file in this folder.
"""

import functools
import json
from pathlib import Path
from statistics import geometric_mean
from zipfile import ZipFile

from benchmarks.bench import bounds, noise


DOCS = Path(__file__).resolve().parent
LIBRARIES = dict(pytorch="PyTorch", flax="Flax", keras="Keras", haiku="Haiku")


@functools.cache
def load(name: str) -> dict:
    return json.loads((DOCS / name).read_text(encoding="utf-8"))


def table(head: list, rows: list, num_texts: int = 1) -> str:
    align = ["---"] * num_texts + ["---:"] * (len(head) - num_texts)
    escape = lambda cell: str(cell).replace("|", r"\|")
    return "\n".join(
        f"| {' | '.join(map(escape, row))} |" for row in (head, align, *rows)
    )


def traps() -> str:
    peers = load("peers.json")
    rows = [
        [what, *(row.get(x, "–") for x in ("here", *LIBRARIES))]
        for what, row in peers["figures"].items()
    ]
    versions = peers["versions"]
    named = ", ".join(f"{name} {versions[x]}" for x, name in LIBRARIES.items())
    return (
        table(["", "here", *LIBRARIES.values()], rows)
        + f"\n\nMeasured with {named}, on JAX {versions['jax']}."
    )


def suite() -> str:
    say = lambda counts: ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items()))
    runs = load("suite.json")["runs"].values()
    rows = [
        [f"`{x['commit']}`", x["python"], x["jax"], *map(say, x["counts"].values())]
        for x in runs
    ]
    kinds = {
        "differs": "Different on the fork and on upstream",
        "fails on both": "Failed on both, also when run again",
        "passed when run again": "Failed at first, and passed when run again",
        "skipped on both": "Skipped on both",
    }
    lists = []
    for kind, title in kinds.items():
        where = {}
        for run in runs:
            for name in run[kind]:
                place = f"`{run['commit']}` on {run['python']}"
                if kind == "differs":
                    place += f": {' and '.join(run[kind][name])}"
                where.setdefault(name, []).append(place)
        lines = [f"- `{name}` ({', '.join(x)})" for name, x in where.items()]
        lists.append(f"{title}:\n\n" + "\n".join(lines) if lines else f"{title}: none.")
    head = ["checkout", "Python", "JAX", "on the fork", "on upstream"]
    return "\n\n".join([table(head, rows, 5), *lists])


def matrix() -> str:
    matrix = load("matrix.json")
    rows = [
        [row["python"], row["jax"], row["result"]]
        for _, row in sorted(matrix["rows"].items())
    ]
    text = table(["Python", "JAX", "`make test`"], rows, 3)
    text += f"\n\nAll of commit `{matrix['commit']}`."
    if missing := matrix["missing"]:
        text += " Not run:\n\n"
    return text + "\n".join(f"- {name}: {why}." for name, why in missing.items())


def distributions() -> str:
    with ZipFile(DOCS.parent / "tests" / "parity" / "quantiles.npz") as recorded:
        names = [name.removesuffix(".npy") for name in recorded.namelist()]
    names = [name.split(" ", 1) for name in names if ": " not in name]
    of = lambda library: "; ".join(f"`{what}`" for x, what in names if x == library)
    return "\n".join(f"- {title}: {of(x)}." for x, title in LIBRARIES.items())


def downstream() -> str:
    uses = {
        "lineax": "the Jacobian of an MLP inverted",
        "optimistix": "an MLP fitted by Levenberg-Marquardt",
        "diffrax": "a neural ODE trained for ten steps",
        "flowjax": "a coupling flow fitted",
        "equimo": "a vision transformer applied",
        "distreqx": "a normal distribution with learnt parameters fitted",
        "jaxnasium": "PPO trained on CartPole, and all its parameters compared",
        "pdequinox": "a Fourier neural operator and a U-Net trained",
        "memax": "four recurrent models (LRU, S6, FFM, NMax) trained",
        "klax": "constrained and convex networks trained",
        "megalodon_jax": "a language model with moving averages trained",
    }
    kinds = ["arrays", "drawn", "left", "refused"]
    downstream = load("downstream.json")
    rows = [
        [
            name,
            row["version"],
            uses[name],
            row["jax"],
            row["figures"],
            "yes" if row["equal"] else "no",
            *map(row.get, kinds),
        ]
        for name, row in downstream["libraries"].items()
    ]
    refused = []
    for name, row in downstream["libraries"].items():
        classes = {}
        for layer, why in row["messages"].items():
            classes.setdefault(why, []).append(f"`{layer.rpartition('.')[2]}`")
        refused += [f"- {name}: {', '.join(x)}: {why}." for why, x in classes.items()]
    head = ["library", "version", "use", "JAX", "figures", "equal to upstream", *kinds]
    return (
        table(head, rows, 4)
        + f"\n\nWith equinox {downstream['equinox']}. The last four count the arrays "
        "of each model, and what `reinitialise` does with them, given `weight_init` "
        "and `bias_init`. It refuses these:\n\n" + "\n".join(refused)
    )


def ratio(case: str, figure: str, name: str) -> str:
    """Of CPU time, and in brackets by the clock."""
    row = load("benchmarks.json")[case][figure]
    clock = f" ({row['clock'][name]:.2f})" if "clock" in row else ""
    return f"{row[name]:.2f}{clock}"


def machine() -> str:
    bench = load("benchmarks.json")
    machine = bench["machine"]
    text = (
        f"Measured on {machine['cpu']} with {machine['cores']} cores, by JAX "
        f"{machine['jax']} on {machine['device']} and Python {machine['python']}, with "
        f"equinox {machine['equinox']}. Each figure comes from {bench['runs']} "
        "processes for each variant (for `import equinox`, from four times as many), "
        "run in turn. A ratio is that of CPU time, of user and system, the best "
        "against the best; in brackets, it is by the clock, which other load disturbs "
        f"more. The load of the machine was at most {max(bench['load'].values()):.2f}."
    )
    if reasons := noise(bench):
        text += " Too noisy to be trusted:\n\n"
    return text + "\n".join(f"- {reason}." for reason in reasons)


def promises() -> str:
    rows = bounds(load("benchmarks.json"))
    calls = [row for row in rows if row[0].endswith(", calls")]
    jaxprs = [row for row in rows if row[0].endswith("jaxpr differs")]
    others = [row for row in rows if row not in calls + jaxprs]
    most = max(calls, key=lambda row: row[1])
    rows = [
        ["default: jaxprs that differ", sum(row[1] for row in jaxprs), 0],
        [f"{most[0]} (the most)", f"{most[1]:.3f}", most[2]],
        *([title, f"{value:.2f}", bound] for title, value, bound in others),
    ]
    return table(["", "measured", "at most"], rows)


def transformer() -> str:
    measured = {
        "fresh": "in a new process",
        "again": "again, in the same process",
        "peak memory": "peak memory, in a new process",
        "trace": "compiled function: time to trace",
        "compile": "compiled function: time to compile",
        "run": "compiled function: time to run",
        "all three": "compiled function: all three",
    }
    variants = {
        "tree_at": "`tree_at`",
        "eval_shape": "`filter_eval_shape`, then `tree_at`",
        "bare": "`jax.random` alone",
    }
    rows = [
        [text, *(ratio("transformer", figure, f"init / {x}") for x in variants)]
        for figure, text in measured.items()
    ]
    bench = load("benchmarks.json")["transformer"]
    fresh, again = (bench[x]["clock"]["init, best"] for x in ("fresh", "again"))
    return (
        table(["`weight_init`, relative to", *variants.values()], rows)
        + f"\n\nIn a new process, building it with `weight_init` takes {fresh:.1f} "
        f"seconds by the clock, and {again:.1f} seconds when everything is compiled."
    )


def times_of_defaults() -> dict[str, float]:
    """To build each layer by its default, relative to upstream."""
    default = load("benchmarks.json")["default"]
    layers = [x.removesuffix(", calls") for x in default if x.endswith(", calls")]
    return {layer: default[layer]["fork / upstream"] for layer in layers}


def defaults() -> str:
    bench, times = load("benchmarks.json"), times_of_defaults()

    def with_range(case, figure):
        low, high = bench[case][figure]["fork / upstream, range"]
        return [ratio(case, figure, "fork / upstream"), f"{low:.2f} to {high:.2f}"]

    rows = [["`import equinox`", *with_range("import", "import"), "", ""]]
    for layer in times:
        num_calls = bench["default"][f"{layer}, calls"]["fork / upstream"]
        same = "yes" if bench["default"][f"{layer}, jaxpr"]["identical"] else "no"
        rows.append(
            [f"`{layer}`", *with_range("default", layer), f"{num_calls:.3f}", same]
        )
    mean = geometric_mean(times.values())
    rows.append(["all layers, geometric mean", f"{mean:.2f}", "", "", ""])
    return table(
        ["fork ÷ upstream", "time", "range", "calls of functions", "same jaxpr"],
        rows,
    )


def growth() -> str:
    best = {
        k: row["fork, best"] for k, row in load("benchmarks.json")["growth"].items()
    }
    build, again = best["build 1000"], best["reinitialise 1000"]
    return (
        f"Building 1000 layers takes {build:.2f} seconds of CPU time once everything "
        f"is compiled, and `reinitialise` on them {again:.2f} seconds, which is "
        f"{again / build:.2f} times as long."
    )


def peers() -> str:
    libraries = {"flax": "Flax NNX", "keras": "Keras, on JAX", "pytorch": "PyTorch"}
    rows = [
        [name, *(ratio("peers", x, f"equinox / {peer}") for x in ("fresh", "again"))]
        for peer, name in libraries.items()
    ]
    versions = load("peers.json")["versions"]
    named = [
        f"{name} {versions[x]}" for x, name in [*libraries.items(), ("jax", "JAX")]
    ]
    return (
        table(["Equinox, relative to", "in a new process", "again"], rows)
        + f"\n\nMeasured with {', '.join(named)}."
    )


TABLES = {
    "migration.md": [traps],
    "evidence.md": [suite, matrix, distributions, downstream],
    "benchmarks.md": [machine, promises, transformer, defaults, growth, peers],
    "large-models.md": [transformer],
}


def written(page: str) -> str:
    """A page, with its tables as they should be."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for function in TABLES[page]:
        begin, end = f"<!-- begin {function.__name__} -->\n\n", "\n\n<!-- end -->"
        before, found, rest = text.partition(begin)
        assert found and end in rest, (page, begin)
        text = before + begin + function() + rest[rest.index(end) :]
    return text


def main() -> None:
    for page in TABLES:
        (DOCS / page).write_text(written(page), encoding="utf-8")


if __name__ == "__main__":
    main()
