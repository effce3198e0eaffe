#!/usr/bin/env python3
"""Holds housing_mlp to its promise on the real data: mean test RMSE (units of $100,000) over seeds 0 to 4."""
import json
import subprocess
import sys

RUNS = [
    ("default settings", [], 0.56),
    ("--hidden 256,256",
     ["--hidden", "256,256", "--activation", "tanh", "--weight-decay", "0.01", "--epochs", "40"], 0.52),
]


def main():
    if len(sys.argv) != 3:
        print("usage: housing_rmse.py path/to/housing_mlp california_housing.csv", file=sys.stderr)
        return 2
    program, data = sys.argv[1:]
    ok = True
    for name, options, limit in RUNS:
        results = [json.loads(subprocess.run([program, "--data", data, "--seed", str(seed), "--json", *options],
                                             check=True, capture_output=True, text=True).stdout)
                   for seed in range(5)]
        mean = sum(r["test_rmse"] for r in results) / len(results)
        seconds = sorted(r["seconds"] for r in results)[len(results) // 2]
        print(f"{name}: test RMSE {mean:.4f} (at most {limit}), median {seconds:.2f} s")
        ok &= mean <= limit
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
