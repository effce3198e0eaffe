#!/usr/bin/env python3
"""Uses housing_mlp as a stranger would: good options, bad input, files, terminals.

Usage: housing_cli.py path/to/housing_mlp
The real data is taken from TAPEGRAD_DATA, or from ../shared/data beside TAPEGRAD_SOURCE_DIR.
"""
import errno
import fcntl
import json
import os
import pty
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
import xml.etree.ElementTree as xml
from pathlib import Path

PROGRAM = os.path.abspath(sys.argv[1])
SOURCE = Path(os.environ.get("TAPEGRAD_SOURCE_DIR", Path(__file__).resolve().parent.parent))
REAL = Path(os.environ.get("TAPEGRAD_DATA", SOURCE.parent / "shared/data/california_housing.csv"))
COLUMNS = ("longitude latitude housing_median_age total_rooms total_bedrooms population households "
           "median_income median_house_value ocean_proximity").split()
counts = {"ok": 0, "not ok": 0}


def report(name, problem=""):
    verdict = "not ok" if problem else "ok"
    counts[verdict] += 1
    print(f"{verdict} - {name}" + (f": {problem}" if problem else ""), flush=True)


def check(name, condition, detail=""):
    report(name, "" if condition else (detail or "does not hold"))


def run(*arguments, env=None):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, encoding="utf-8",
                          env={**os.environ, **(env or {})}, timeout=300)


def houses(rows=60, seed=1):
    """A small table in the form of the real one, as lists of fields."""
    rng = random.Random(seed)
    table = [COLUMNS]
    for _ in range(rows):
        households = rng.randint(50, 900)
        income = rng.uniform(1, 10)
        table.append([f"{rng.uniform(-124, -114):.2f}", f"{rng.uniform(32, 42):.2f}",
                      f"{rng.randint(1, 52)}.0", f"{5 * households}.0", f"{households}.0",
                      f"{3 * households}.0", f"{households}.0", f"{income:.4f}",
                      f"{int(40000 * income)}.0", "INLAND"])
    return table


def text_of(table, newline="\n"):
    return "".join(",".join(row) + newline for row in table)


def changed(row, column, value):
    """The small table with one field changed; row 1 is line 2 of the file."""
    table = houses()
    table[row][COLUMNS.index(column)] = value
    return text_of(table)


def bad(name, arguments, *expected, status=2):
    """A mistake: this exit status, a message that holds every expected text, nothing on stdout."""
    got = run(*arguments)
    problem = ""
    if got.returncode != status:
        problem = f"exit status {got.returncode}, not {status}"
    elif got.stdout:
        problem = f"stdout has {got.stdout[:60]!r}"
    elif not got.stderr.startswith("housing_mlp: ") or not got.stderr.endswith("\n"):
        problem = f"stderr is {got.stderr!r}"
    elif missing := [e for e in expected if e not in got.stderr]:
        problem = f"{missing} not in {got.stderr!r}"
    report(name, problem)
    if not problem and os.environ.get("SHOW_MESSAGES"):
        print("    " + got.stderr.rstrip())


def bad_file(name, content, *expected):
    path = "houses.csv"
    Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
    bad(name, ["--data", path], path, *expected)


def test_bad_options():
    for arguments, *expected in [
            (["--unknown"], "--unknown", "--help"),
            (["-x"], "-x"),
            (["file.csv"], "file.csv"),
            ([""], "unexpected"),
            (["--hidden", "0"], "--hidden 0", "1 to 4096"),
            (["--hidden", "64,"], "--hidden 64,"),
            (["--hidden", ",64"], "--hidden ,64"),
            (["--hidden", "64,,64"], "--hidden 64,,64"),
            (["--hidden", "1,2,3,4,5,6,7,8,9"], "at most 8"),
            (["--hidden", "99999999999999999999"], "--hidden"),
            (["--hidden", "6.5"], "--hidden 6.5"),
            (["--hidden", ""], "--hidden"),
            (["--hidden"], "--hidden", "missing"),
            (["--lr", "nan"], "--lr nan"),
            (["--lr", "inf"], "--lr inf"),
            (["--lr", "-1"], "--lr -1"),
            (["--lr", "1e999"], "--lr 1e999"),
            (["--lr", "0.1x"], "--lr 0.1x"),
            (["--lr", "0x10"], "--lr 0x10"),
            (["--lr", " 1"], "--lr  1"),
            (["--lr="], "--lr"),
            (["--epochs", "-1"], "--epochs -1"),
            (["--epochs", "0"], "--epochs 0"),
            (["--epochs", "1.5"], "--epochs 1.5"),
            (["--epochs", "1e2"], "--epochs 1e2"),
            (["--batch", "0"], "--batch 0"),
            (["--batch", "6401"], "--batch 6401", "6400"),
            (["--seed", "-1"], "--seed -1"),
            (["--seed", "18446744073709551616"], "--seed"),
            (["--weight-decay", "nan"], "--weight-decay nan"),
            (["--warmup", "3", "--epochs", "2"], "--warmup 3"),
            (["--optimizer", "sdg"], "--optimizer sdg", "sgd, momentum, adam, adamw"),
            (["--schedule", "linear"], "--schedule linear", "constant, step, cosine"),
            (["--activation", ""], "--activation", "sigmoid, tanh, relu"),
            (["--json=1"], "--json=1"),
            (["--data", ""], "--data"),
            (["--loss-curve", ""], "--loss-curve"),
            (["--explain=1"], "--explain=1"),
            (["--dot"], "--dot", "missing"),
            (["--dot", ""], "--dot"),
            (["--dot", "."], "--dot .", "irectory"),
            (["--dot-backward", "no/such/g.dot"], "--dot-backward no/such/g.dot", "No such file"),
            (["--dot", "/dev/null"], "--dot /dev/null", "regular")]:
        bad("bad option " + " ".join(arguments), arguments, *expected)


def test_bad_files():
    bad("no such file", ["--data", "absent.csv"], "absent.csv", "No such file")
    bad("a directory", ["--data", "."], ".: ", "irectory")
    table = houses()
    whole = text_of(table)
    bad_file("an empty file", "", "empty")
    bad_file("a header alone", text_of(table[:1]), "header")
    bad_file("a missing column", "\n".join(line.replace("median_income", "income")
                                           for line in whole.split("\n")), "median_income")
    bad_file("too few fields", text_of(table[:7] + [table[7][:-1]] + table[8:]),
             "houses.csv:8:", "9 fields", "10")
    bad_file("too many fields", text_of(table[:7] + [table[7] + ["x"]] + table[8:]),
             "houses.csv:8:", "11 fields")
    bad_file("not a number", changed(3, "population", "many"), "houses.csv:4:", "population", "many")
    bad_file("a number with a tail", changed(3, "population", "12a"), "houses.csv:4:", "12a")
    bad_file("a number out of range", changed(3, "population", "1e999"), "houses.csv:4:", "1e999")
    bad_file("a quotient out of range", changed(3, "households", "1e-320"), "houses.csv:4:",
             "AveRooms")
    bad_file("cut in a row", whole[:len(whole) // 2 - 20], "houses.csv:", "fields")
    bad_file("cut in quotes", whole + '"unfinished', "houses.csv:62")
    bad_file("a NUL byte", whole.encode()[:200] + b"\0" + whole.encode()[200:], "houses.csv:")
    bad_file("no price", changed(5, "median_house_value", ""), "houses.csv:6:",
             "median_house_value")
    bad_file("no households", changed(5, "households", "0"), "houses.csv:6:", "households")
    bad_file("too few rows", text_of(table[:6]), "5 rows")
    no_bedrooms = [row[:4] + [""] + row[5:] for row in table[1:]]
    bad_file("a column without values", text_of([COLUMNS] + no_bedrooms), "AveBedrms")
    bad_file("a value too far from the others", changed(3, "population", "1e300"), "houses.csv:4:",
             "Population")
    Path("small.csv").write_text(whole)
    bad("a batch larger than the data", ["--data", "small.csv", "--batch", "39"], "--batch 39",
        "38")


def test_loss_curve_refused():
    os.mkdir("directory")
    os.mkfifo("fifo")
    before = sorted(os.listdir())
    for path in ["absent/loss.svg", "directory", "fifo", "small.csv/loss.svg", "x" * 300]:
        # So many epochs would take hours: it is refused before training, or the test times out.
        bad(f"loss curve refused: {path[:20]}",
            ["--loss-curve", path, "--epochs", "1000000", "--json"], "--loss-curve " + path)
    if os.geteuid() != 0:
        Path("kept.svg").write_text("kept")
        os.chmod("kept.svg", 0o444)
        bad("loss curve refused: read-only", ["--loss-curve", "kept.svg"], "kept.svg")
        os.remove("kept.svg")
    check("nothing was left behind", sorted(os.listdir()) == before)


def test_files_kept():
    """No output may overwrite an input or another output, by whatever name."""
    Path("kept.csv").write_text(text_of(houses()))
    os.symlink("kept.csv", "symbolic.csv")
    os.link("kept.csv", "hard.csv")
    run("--epochs", "1", "--save", "kept.weights")
    kept = {name: Path(name).read_bytes() for name in ("kept.csv", "kept.weights")}
    before = sorted(os.listdir())
    outputs = ("--save", "--resume", "--loss-curve", "--dot", "--dot-backward")
    for option in outputs:
        for path in ("kept.csv", "./kept.csv", "symbolic.csv", "hard.csv"):
            bad(f"{option} {path} over --data", ["--data", "kept.csv", option, path], option,
                "--data kept.csv")
    for option in ("--save", "--loss-curve", "--dot"):
        bad(f"{option} over --load", ["--load", "kept.weights", option, "./kept.weights"], option,
            "--load kept.weights")
    for one, other in (("--save", "--resume"), ("--save", "--loss-curve"),
                       ("--loss-curve", "--resume"), ("--dot", "--dot-backward")):
        for spelling in ("new", "./new", os.path.abspath("new")):
            bad(f"{one} and {other} to one new file", [one, "new", other, spelling], one, other)
        bad(f"{one} and {other} to one old file", [one, "kept.csv", other, "hard.csv"], one, other)
    check("files of refused commands are as before", sorted(os.listdir()) == before and
          all(Path(name).read_bytes() == content for name, content in kept.items()))


def test_ignored_options_refused():
    before = sorted(os.listdir())
    for only in (["--explain"], ["--summary"], ["--dot", "new.dot"], ["--dot-backward", "new.dot"]):
        for idle in (["--json"], ["--loss-curve", "new"], ["--save", "new"], ["--resume", "new"]):
            bad(f"{only[0]} and {idle[0]}", [*idle, *only], only[0], idle[0], "nothing is trained")
    check("nothing was written for them", sorted(os.listdir()) == before)


def test_diverged():
    before = sorted(os.listdir())
    bad("divergence", ["--optimizer", "sgd", "--lr", "1e6", "--activation", "relu", "--quiet",
                       "--loss-curve", "diverged.svg"],
        "diverged", "epoch 1, step ", "--lr", status=1)
    check("divergence leaves no picture", sorted(os.listdir()) == before)


def numbers(line):
    got = json.loads(line)
    del got["seconds"]
    return got


def test_json():
    got = run("--json", "--epochs", "3", "--seed", "7")
    check("--json: exit status 0, one line, nothing on stderr",
          got.returncode == 0 and got.stdout.count("\n") == 1 and got.stderr == "", repr(got))
    line = json.loads(got.stdout)
    keys = {"test_rmse", "val_rmse", "train_rmse", "r2", "seconds", "epochs", "seed"}
    check("--json: keys", keys <= set(line), repr(line))
    check("--json: values", line["epochs"] == 3 and line["seed"] == 7 and line["synthetic"] is True
          and 0 < line["test_rmse"] < 2 and line["r2"] < 1, repr(line))
    same, other = run("--json", "--epochs=3", "--seed=7"), run("--json", "--epochs", "3")
    check("same seed, same bits", numbers(got.stdout) == numbers(same.stdout))
    check("another seed, other bits", numbers(got.stdout) != numbers(other.stdout))
    Path("equal.csv").write_text(text_of([row[:8] + ["100000", ""] if i else row
                                          for i, row in enumerate(houses())]))
    got = run("--json", "--data", "equal.csv", "--epochs", "1")
    check("equal prices: R² is null", got.returncode == 0 and json.loads(got.stdout)["r2"] is None,
          repr(got))


def test_forms_of_csv():
    table = houses()
    Path("plain.csv").write_text(text_of(table))
    plain = numbers(run("--json", "--data", "plain.csv").stdout)
    check("small file: fewer rows than a batch", plain["rows"] == 60)
    reordered = [list(reversed(row)) + ["a note,\nof two lines"] for row in table]
    quoted = [['"' + field + '"' for field in row] for row in reordered]
    quoted[0][-1] = "note"
    Path("other.csv").write_bytes(b"\xef\xbb\xbf" + text_of(quoted, "\r\n").encode())
    check("byte-order mark, quotes, CRLF, other order: same bits",
          numbers(run("--json", "--data", "other.csv").stdout) == plain)
    Path("gaps.csv").write_text(changed(3, "total_bedrooms", ""))
    got = run("--data", "gaps.csv", "--epochs", "2")
    check("missing values are filled", "1 missing value" in got.stdout, got.stdout + got.stderr)


def test_options():
    for arguments in (["--hidden", "5,4,3", "--activation", "tanh", "--optimizer", "momentum"],
                      ["--activation", "relu", "--optimizer", "adam", "--schedule", "step"],
                      ["--optimizer", "sgd", "--schedule", "constant", "--batch", "6400"],
                      ["--warmup", "1", "--weight-decay", "0.1", "--batch", "1000"]):
        got = run("--json", "--epochs", "2", *arguments)
        check("runs " + " ".join(arguments), got.returncode == 0, got.stderr)
    got = run("--help")
    options = ("--data --hidden --epochs --batch --lr --optimizer --schedule --seed --loss-curve "
               "--save --load --resume --explain --dot --dot-backward --summary --trace-nan "
               "--json --quiet --help").split()
    check("--help", got.returncode == 0 and got.stderr == "" and
          all(option in got.stdout for option in options), got.stdout)
    check("--help: 80 columns", max(map(len, got.stdout.split("\n"))) <= 80)


def test_lines():
    got = run("--epochs", "40")
    lines = got.stdout.split("\n")
    check("piped: plain lines, and not many", got.returncode == 0 and len(lines) <= 35 and
          "\r" not in got.stdout and "\033" not in got.stdout, got.stdout)
    check("synthetic data is called so", "synthetic" in got.stdout)
    check("the report", all(text in got.stdout for text in
                            ("training", "validation", "test", "R²", "$", "seconds")), got.stdout)
    quiet = run("--epochs", "40", "--quiet").stdout
    check("--quiet: only the results", "epoch" not in quiet and
          quiet.split("\n")[:-2] == lines[-len(quiet.split("\n")):-2], quiet)


def test_loss_curve():
    for epochs in ("1", "30"):
        Path("loss.svg").write_text("something older")
        got = run("--loss-curve", "loss.svg", "--epochs", epochs, "--json")
        picture = Path("loss.svg").read_text()
        root = xml.fromstring(picture)
        lines = root.findall("{http://www.w3.org/2000/svg}polyline")
        check(f"loss curve of {epochs} epochs", got.returncode == 0 and len(lines) == 2 and
              all(len(line.get("points").split()) == int(epochs) for line in lines), picture)
        check("loss curve has no wild number", not re.search(r"\b(nan|inf)\b", picture))
    check("no temporary file is left", not list(Path().glob("*.part")))


PERCEPTRON = """\
  F      = X @ W1                  (64, 64)
  E      = F + b1                  (64, 64)
  D      = sigmoid(E)              (64, 64)
  C      = D @ W2                  (64, 1)
  B      = C + b2                  (64, 1)
  A      = Y - B                   (64, 1)
  L      = mean(A²)                ()
backward from L                    shape
  dL/dL  = 1                       ()
  dL/dA  = 2/n · A                 (64, 1)
  dL/dB  = -dL/dA                  (64, 1)
  dL/dC  = dL/dB                   (64, 1)
  dL/db2 = sum over rows of dL/dB  (1, 1)    ← b2 (1, 1), broadcast over 64 rows
  dL/dD  = dL/dC @ W2ᵀ             (64, 64)
  dL/dW2 = Dᵀ @ dL/dC              (64, 1)   ← W2 (64, 1)
  dL/dE  = dL/dD · D · (1 - D)     (64, 64)
  dL/dF  = dL/dE                   (64, 64)
  dL/db1 = sum over rows of dL/dE  (1, 64)   ← b1 (1, 64), broadcast over 64 rows
  dL/dW1 = Xᵀ @ dL/dF              (8, 64)   ← W1 (8, 64)
"""


def test_explain():
    got = run("--explain", "--batch", "64", env={"LC_ALL": "C.UTF-8"})
    check("--explain: the tutorial's formulas", got.returncode == 0 and got.stderr == "" and
          got.stdout.endswith(PERCEPTRON) and got.stdout.startswith("8-64-1 sigmoid"), got.stdout)
    got = run("--explain", "--hidden", "9,5", "--activation", "relu", env={"LC_ALL": "C"})
    check("--explain in ASCII, two hidden layers", got.returncode == 0 and got.stdout.isascii() and
          all(f"<- {name}{i} " in got.stdout for name in "Wb" for i in (1, 2, 3)), got.stdout)
    got = run("--summary", "--hidden", "9,5")
    check("--summary", got.returncode == 0 and re.search(r"^total +137 +548$", got.stdout, re.M) and
          "RMSE" not in got.stdout, got.stdout)


def test_graph():
    for option, backward in (("--dot", False), ("--dot-backward", True)):
        Path("g.dot").write_text("something older")
        got = run(option, "g.dot")
        graph = Path("g.dot").read_text()
        check(f"{option}: a graph", got.returncode == 0 and got.stdout == "" and
              graph.startswith("digraph") and graph.endswith("}\n") and
              ("dL/dW1" in graph) == backward, graph)
        if shutil.which("dot"):
            drawn = subprocess.run(["dot", "-Tsvg", "g.dot"], capture_output=True, encoding="utf-8",
                                   timeout=60)
            text = ["".join(node.itertext()) for node in xml.fromstring(drawn.stdout).iter(
                "{http://www.w3.org/2000/svg}text")] if drawn.stdout else []
            check(f"{option}: Graphviz draws it", drawn.stderr == "" and
                  {"W1", "b1", "W2", "b2", "X", "Y", "layer 1", "layer 2"} <= set(text),
                  drawn.stderr + repr(text))
    check("no temporary file of a graph is left", not list(Path().glob("*.part")))


def test_trace():
    for optimizer in ("sgd", "momentum"):
        bad(f"--trace-nan with {optimizer}",
            ["--trace-nan", "--lr", "1e6", "--schedule", "constant", "--optimizer", optimizer,
             "--activation", "relu", "--quiet", "--json", "--epochs", "200"],
            "not finite", "where", "at epoch 1, step ", "--lr", status=1)
    plain = numbers(run("--json", "--epochs", "2").stdout)
    check("--trace-nan changes no result",
          numbers(run("--json", "--epochs", "2", "--trace-nan").stdout) == plain)


def test_weights():
    saved = run("--json", "--epochs", "4", "--save", "a.safetensors")
    check("--save", saved.returncode == 0 and os.path.exists("a.safetensors"), repr(saved))
    size = int.from_bytes(Path("a.safetensors").read_bytes()[:8], "little")
    header = json.loads(Path("a.safetensors").read_bytes()[8:8 + size])
    check("--save: weights, and how data was standardised",
          header.pop("__metadata__") == {"activation": "sigmoid"} and
          {name: tensor["shape"] for name, tensor in header.items()} ==
          {"W1": [8, 64], "b1": [1, 64], "W2": [64, 1], "b2": [1, 1], "features.mean": [8],
           "features.scale": [8], "price.mean": [1], "price.scale": [1]}, repr(header))
    got, keys = run("--json", "--load", "a.safetensors", "--epochs", "0"), ("test_rmse", "r2")
    check("--load: the same results", got.returncode == 0 and
          all(json.loads(got.stdout)[key] == json.loads(saved.stdout)[key] for key in keys),
          repr(got))
    other = json.loads(run("--json", "--load", "a.safetensors", "--epochs", "0", "--seed",
                           "9").stdout)
    check("--load: other rows, about as good", abs(other["test_rmse"] -
                                                   json.loads(saved.stdout)["test_rmse"]) < 0.1)
    got = run("--json", "--load", "a.safetensors", "--epochs", "2")
    check("--load: trains on", got.returncode == 0 and json.loads(got.stdout)["train_rmse"] <
          json.loads(saved.stdout)["train_rmse"], repr(got))
    whole = Path("a.safetensors").read_bytes()
    Path("cut.safetensors").write_bytes(whole[:-3])
    zero = bytearray(whole)
    at = 8 + size + header["price.scale"]["data_offsets"][0]
    zero[at:at + 4] = bytes(4)
    Path("zero.safetensors").write_bytes(zero)
    bad("--load: another network", ["--load", "a.safetensors", "--hidden", "9"], "a.safetensors",
        "'W1'", "(8, 9)")
    bad("--load: fewer layers", ["--load", "a.safetensors", "--hidden", "64,64"], "a.safetensors")
    bad("--load: another activation", ["--load", "a.safetensors", "--activation", "relu"],
        "--activation sigmoid")
    bad("--load: cut", ["--load", "cut.safetensors"], "cut.safetensors")
    bad("--load: a scale of 0", ["--load", "zero.safetensors"], "zero.safetensors", "price.scale")
    bad("--load: no such file", ["--load", "absent"], "absent", "No such file")
    bad("--save: no such directory", ["--save", "absent/a", "--epochs", "1000000"],
        "--save absent/a")
    bad("--epochs 0 and a curve", ["--load", "a.safetensors", "--epochs", "0", "--loss-curve",
                                   "a.svg"], "--loss-curve")
    bad("--load and --resume", ["--load", "a.safetensors", "--resume", "r"], "--load")
    bad("--save and --resume to one file", ["--save", "r", "--resume", "r"], "--resume")


def test_resume():
    constant = ["--json", "--schedule", "constant", "--optimizer", "momentum"]
    once = run(*constant, "--epochs", "10", "--save", "once", "--loss-curve", "once.svg")
    run(*constant, "--epochs", "5", "--resume", "run")
    half = Path("run").read_bytes()
    got = run(*constant, "--epochs", "10", "--resume", "run", "--save", "twice", "--loss-curve",
              "twice.svg")
    check("--resume: 10 epochs, 5 + 5 epochs: same results", got.returncode == 0 and
          numbers(once.stdout) == numbers(got.stdout), repr(got))
    check("--resume: same bits", Path("once").read_bytes() == Path("twice").read_bytes())
    check("--resume: same curve", Path("once.svg").read_bytes() == Path("twice.svg").read_bytes())
    got = run(*constant, "--epochs", "10", "--resume", "run")
    check("--resume: nothing left to do", numbers(once.stdout) == numbers(got.stdout), repr(got))
    for name, arguments, *expected in [
            ("fewer epochs", ["--epochs", "9"], "10 epochs", "--epochs 9"),
            ("another seed", ["--seed", "1"], "--seed"),
            ("another rate", ["--lr", "0.3"], "--lr"),
            ("another batch", ["--batch", "64"], "--batch"),
            ("another schedule", ["--schedule", "cosine"], "--schedule"),
            ("another network", ["--hidden", "3"], "W1"),
            ("another optimiser", ["--optimizer", "adam", "--lr", "0.05"], "run")]:
        bad("--resume: " + name, [*constant[1:], "--resume", "run", *arguments], "run", *expected)
    Path("small.csv").write_text(text_of(houses()))
    bad("--resume: other data", [*constant[1:], "--resume", "run", "--data", "small.csv", "--batch",
                                 "38"], "run")
    bad("--resume: weights alone", ["--resume", "once"], "once", "not a checkpoint")
    Path("cut").write_bytes(half[:len(half) // 2])
    bad("--resume: cut", ["--resume", "cut"], "cut")


def test_resume_of_a_schedule():
    """10 epochs at once, or some of them first: the same bits, whatever the schedule."""
    for schedule in ("constant", "step", "cosine"):
        plan = ["--json", "--schedule", schedule, "--warmup", "2", "--hidden", "16"]
        once = run(*plan, "--epochs", "10", "--save", "once." + schedule)
        for first in ("1", "5", "9"):
            file = f"plan.{schedule}.{first}"
            run(*plan, "--epochs", first, "--schedule-epochs", "10", "--resume", file)
            got = run(*plan, "--epochs", "10", "--resume", file, "--save", "twice")
            check(f"--resume: {schedule}, {first} epochs and the rest: same bits",
                  got.returncode == 0 and numbers(got.stdout) == numbers(once.stdout) and
                  Path("once." + schedule).read_bytes() == Path("twice").read_bytes(), repr(got))
        file = "short." + schedule
        run(*plan, "--epochs", "5", "--resume", file)
        if schedule == "constant":
            check("--resume: a constant rate may go on", run(*plan, "--epochs", "10", "--resume",
                                                             file).returncode == 0)
        else:
            bad("--resume: a plan that was for fewer epochs", [*plan[1:], "--epochs", "10",
                "--resume", file], file, "--schedule-epochs: 5, here 10")
    bad("--warmup longer than the schedule", ["--epochs", "9", "--schedule-epochs", "3", "--warmup",
                                              "4"], "--warmup 4")


def test_killed():
    arguments = ["--json", "--epochs", "300", "--hidden", "16"]
    once = run(*arguments)
    for _ in range(3):
        process = subprocess.Popen([PROGRAM, *arguments, "--resume", "killed"],
                                   stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        process.kill()
        process.wait()
    got = run(*arguments, "--resume", "killed")
    check("--resume after kill -9: same bits", got.returncode == 0 and
          numbers(got.stdout) == numbers(once.stdout), repr(got))


def on_terminal(columns, *arguments, **environment):
    """What housing_mlp writes to a terminal so wide."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update({"TERM": "xterm"}, **environment)
        os.execv(PROGRAM, [PROGRAM, "--epochs", "40", *arguments])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    output = b""
    while True:
        try:
            block = os.read(terminal, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            block = b""
        if not block:
            break
        output += block
    _, status = os.waitpid(process, 0)
    os.close(terminal)
    return status, output.decode()


def test_terminal():
    os.environ.pop("NO_COLOR", None)
    for columns in (100, 40, 12):
        status, output = on_terminal(columns)
        drawn = [re.sub("\033\\[[0-9;]*[mK]", "", part).split("\r")[0].rstrip("\n")
                 for part in output.split("\r\033[2K")[1:]]
        check(f"progress fits {columns} columns", status == 0 and drawn and
              max(map(len, drawn)) < columns, repr(drawn[-1:]))
        check(f"progress at {columns} columns ends at the last epoch", "epoch 40/40"[:columns - 1]
              in drawn[-1], repr(drawn[-1:]))
    plan = ["--schedule", "constant", "--resume", "shown"]
    last = re.findall("train ([0-9.]+)", run("--epochs", "39", *plan).stdout)[-1]
    bar = re.search("epoch 40/40 .*?train ([0-9.]+)", on_terminal(100, *plan)[1])
    check("a resumed run's bar begins with the losses before",
          bar and abs(float(bar.group(1)) - float(last)) < 6e-4, repr((bar, last)))
    check("colours on a terminal", "\033[36m" in on_terminal(100)[1])
    output = on_terminal(100, NO_COLOR="1")[1]
    check("NO_COLOR", "\r\033[2K" in output and not re.search("\033\\[[0-9;]*m", output))
    check("TERM=dumb: plain lines", "\033" not in on_terminal(100, TERM="dumb")[1])


def test_output_fails():
    if not os.path.exists("/dev/full"):
        return print("skipped: no /dev/full")
    for arguments in (["--help"], ["--json", "--epochs", "1"], ["--explain"], ["--summary"]):
        with open("/dev/full", "w") as full:
            got = subprocess.run([PROGRAM, *arguments], stdout=full, stderr=subprocess.PIPE,
                                 encoding="utf-8", timeout=60)
        check("full disk: " + arguments[0], got.returncode == 1 and "output" in got.stderr,
              repr(got))
    return None


def test_real_data():
    if not REAL.exists():
        return print(f"skipped: {REAL} is not there (TAPEGRAD_DATA names the file)")
    got = [json.loads(run("--data", str(REAL), "--json", "--seed", str(seed)).stdout)
           for seed in range(5)]
    rmse = [line["test_rmse"] for line in got]
    mean = sum(rmse) / len(rmse)
    print("    test RMSE:", *(f"{value:.4f}" for value in rmse), f"mean {mean:.4f}")
    check("real data: mean test RMSE of seeds 0 to 4 is at most 0.56", mean <= 0.56)
    check("real data: 20,640 rows", all(line["rows"] == 20640 and not line["synthetic"]
                                        for line in got))
    whole = REAL.read_bytes()
    bad_file("real data cut in a row", whole[:700_000 + whole[700_000:].index(b",")],
             "houses.csv:", "fields")
    return None


def main():
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        for name, test in list(globals().items()):
            if name.startswith("test_"):
                test()
        os.chdir("/")
    print(f"{counts['ok']} passed, {counts['not ok']} failed")
    return 1 if counts["not ok"] else 0


if __name__ == "__main__":
    sys.exit(main())
