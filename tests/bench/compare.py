#!/usr/bin/env python3
"""Times training steps of the engine and of other engines on this machine, one thread each, float32:

    python3 tests/bench/compare.py build

prints a table of microseconds a step, with the ratio to the engine's replayed step in parentheses. NumPy, PyTorch and JAX
take part where they are installed; --path jax=DIRECTORY looks for one in a directory of its own. --readme puts the
table, and the bench's own with two threads, into README.md. All must compute the same loss after a step; if one does not, that is said and the exit status is 1.
"""
import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
NETWORKS = ["4x2-8-1", "64x8-64-1", "1024x8-64-1", "16512x8-64-1", "256x784-512-512-10"]
PEERS = ["numpy", "torch", "torch.compile", "jax"]
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1",
              "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu"}
# Keeps memory that was freed, which makes some of them faster and others slower: every second round has it.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "1073741824"}
# Settings of a machine that would slow down NumPy's OpenBLAS, or not be its default.
NOT_FOR_NUMPY = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"]


class Results:
    """us[engine][network], engines in the order of the table; the first is the engine that others are compared with."""

    def __init__(self):
        self.us, self.machine, self.losses = {}, {}, {}

    def add(self, engine, network, us, loss):
        known = self.us.setdefault(engine, {})
        known[network] = min(us, known.get(network, us))
        if loss is not None:
            self.losses.setdefault(network, {})[engine] = loss

    def disagreements(self):
        """Losses that differ from the engine's by more than float32's rounding explains."""
        for network, losses in self.losses.items():
            expected = losses[REPLAYED]
            for engine, loss in losses.items():
                if not abs(loss - expected) <= 1e-5 * abs(expected):
                    yield f"{network}: the loss after a step is {loss} with {engine}, {expected} with the engine"


REPLAYED, FRESH, BY_HAND = "tapegrad, replayed", "tapegrad, fresh tape", "C by hand"


def lines_of(command, environment):
    process = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if process.returncode:
        sys.exit(f"compare: {' '.join(map(str, command))} failed")
    return [json.loads(line) for line in process.stdout.splitlines()]


def bench(build):
    return pathlib.Path(build) / "tests/bench/bench"


def measure_engine(results, build, networks):
    command = [bench(build), "--json"]
    for network in networks:
        command += ["--network", network]
    for row in lines_of(command, os.environ):
        kind, _, rest = row["name"].partition("/")
        if kind == "peak":
            results.machine = {"isa": row["isa"], "gflops": max(row["gflops"], results.machine.get("gflops", 0))}
        elif kind == "step":
            network, way = rest.split("/")
            results.add(REPLAYED if way == "replay" else FRESH, network, row["us"], row["loss"])
        elif kind in ("hand", "hand-blocked"):
            results.add(BY_HAND, rest, row["us"], row["loss"])


def measure_peer(results, peer, networks, directory, settings):
    environment = {**os.environ, **ONE_THREAD, **settings}
    if peer == "numpy":
        for name in NOT_FOR_NUMPY:
            environment.pop(name, None)
    if directory:
        environment["PYTHONPATH"] = directory
    for row in lines_of([sys.executable, HERE / "peers.py", peer, *networks], environment):
        results.add(row["peer"].partition("+")[0], row["network"], row["us"], row["loss"])


def measure(build, networks, paths, rounds):
    """Engine and peers in turns, so that a noisy moment of the machine is nobody's; the best counts."""
    results = Results()
    for engine in (REPLAYED, FRESH, BY_HAND):
        results.us[engine] = {}
    for i in range(rounds):
        measure_engine(results, build, networks)
        for peer in PEERS:
            measure_peer(results, peer, networks, paths.get(peer.split(".")[0]), KEEP_MEMORY if i % 2 else {})
    return results


def processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def significant(x):
    return f"{x:.3g}" if x < 1000 else f"{x:.0f}"


def table(results, networks):
    engines = [engine for engine, us in results.us.items() if us]
    rows = [["µs a step"] + engines, ["---"] + ["---:"] * len(engines)]
    for network in networks:
        row, own = [network], results.us[REPLAYED][network]
        for engine in engines:
            us = results.us[engine].get(network)
            ratio = f" ({us / own:.2f})" if us and us < 9.95 * own else f" ({us / own:.0f})" if us else ""
            row.append(significant(us) + (ratio if engine != REPLAYED else "") if us else "")
        rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([f"{processor()}, one core, {results.machine['isa']}; FMA peak {results.machine['gflops']:.0f} GFLOP/s.",
                      ""] + lines)


def replace_between(text, mark, content):
    start, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
    head, rest = text.split(start)
    return head + start + content + "\n" + end + rest.split(end)[1]


def common_arguments(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="the build directory")
    parser.add_argument("--path", action="append", default=[], metavar="PEER=DIRECTORY",
                        help="where numpy, torch or jax is installed, if not where Python looks")
    parser.add_argument("--rounds", type=int, default=2, help="the best of so many runs (2)")
    return parser


def directories(arguments):
    return dict(path.split("=", 1) for path in arguments.path)


def complain(results):
    """The exit status: whether any computed another loss."""
    wrong = list(results.disagreements())
    for line in wrong:
        print(line, file=sys.stderr)
    return bool(wrong)


def main():
    parser = common_arguments(__doc__)
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    arguments = parser.parse_args()
    results = measure(arguments.build, NETWORKS, directories(arguments), arguments.rounds)
    text = table(results, NETWORKS)
    print(text)
    if arguments.readme:
        rows = subprocess.run([bench(arguments.build), "--threads", "2"], check=True, stdout=subprocess.PIPE, text=True).stdout
        readme = HERE / "README.md"
        page = replace_between(readme.read_text(), "table", text)
        readme.write_text(replace_between(page, "rows", f"```\n{rows}```"))
    return complain(results)


if __name__ == "__main__":
    sys.exit(main())
