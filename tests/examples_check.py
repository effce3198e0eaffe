#!/usr/bin/env python3
"""Runs digits_cnn, char_gpt and pinn and checks what they promise; then mistakes.

Usage: examples_check.py path/to/digits_cnn path/to/char_gpt path/to/pinn
"""
import gzip
import os
import re
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from pathlib import Path

DIGITS, GPT, PINN = (os.path.abspath(path) for path in sys.argv[1:4])
counts = {"ok": 0, "not ok": 0}


def check(name, condition, detail=""):
    verdict = "ok" if condition else "not ok"
    counts[verdict] += 1
    problem = "" if condition else f": {detail or 'does not hold'}"
    print(f"{verdict} - {name}{problem}", flush=True)


def run(*arguments):
    return subprocess.run(arguments, capture_output=True, encoding="utf-8", timeout=500)


def number(pattern, got):
    found = re.search(pattern, got.stdout)
    return float(found[1]) if found and got.returncode == 0 else float("nan")


def picture(name, path):
    """Whether there is such a picture, without a number that is none."""
    text = Path(path).read_text() if os.path.exists(path) else ""
    try:
        root = xml.fromstring(text)
    except xml.ParseError as error:
        return check(name, False, repr(error))
    return check(name, root.tag.endswith("svg") and not re.search(r"\b(nan|inf)\b", text))


def bad(name, arguments, *expected, status=2):
    got = run(*arguments)
    program = os.path.basename(arguments[0])
    check(name, got.returncode == status and got.stderr.startswith(program + ": ") and
          all(text in got.stderr for text in expected), repr(got))


def test_digits():
    got = run(DIGITS, "--seed", "1", "--svg", "digits.svg")
    accuracy = number(r"accuracy: ([0-9.]+)%", got)
    check(f"digits_cnn: {accuracy}% of held-out digits, at least 97", accuracy >= 97.0, repr(got))
    picture("digits_cnn: picture", "digits.svg")
    short = [run(DIGITS, "--epochs", "1", "--seed", "3").stdout.split("taken for")[1:]
             for _ in range(2)]
    check("digits_cnn: same seed, same table", short[0] and short[0] == short[1], repr(short))


def write_idx(path, shape, data):
    content = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape) + bytes(data)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def mnist(directory, test_labels):
    """Files in MNIST's form, one of them compressed: a white row marks the digit."""
    os.makedirs(directory)
    for name, n, labels in (("train", 200, [i % 10 for i in range(200)]),
                            ("t10k", 60, test_labels)):
        pixels = bytearray(n * 28 * 28)
        for i, label in enumerate(labels):
            at = (i * 28 + 2 * min(label, 9) + 4) * 28
            pixels[at:at + 28] = b"\xff" * 28
        write_idx(Path(directory, f"{name}-images-idx3-ubyte.gz"), (n, 28, 28), pixels)
        write_idx(Path(directory, f"{name}-labels-idx1-ubyte"), (len(labels),), labels)


def test_mnist_files():
    mnist("mnist", [i * 7 % 10 for i in range(60)])
    got = run(DIGITS, "--data", "mnist", "--epochs", "12", "--svg", "mnist.svg")
    check("digits_cnn: MNIST's form", number(r"accuracy: ([0-9.]+)%", got) >= 97.0, repr(got))
    picture("digits_cnn: picture of 28 by 28", "mnist.svg")
    mnist("labels", [10] * 60)
    bad("digits_cnn: label 10", [DIGITS, "--data", "labels"], "label 0 is 10")
    mnist("counts", [1] * 59)
    bad("digits_cnn: fewer labels than images", [DIGITS, "--data", "counts"], "t10k")
    bad("digits_cnn: no such directory", [DIGITS, "--data", "absent"], "absent/train-images")


def test_gpt():
    got = run(GPT, "--seed", "1", "--svg", "gpt.svg")
    trigram, gpt = number(r"trigram ([0-9.]+)", got), number(r"GPT +([0-9.]+)", got)
    check(f"char_gpt: {gpt} nats, the trigram's {trigram}", gpt < 0.6 * trigram, repr(got))
    picture("char_gpt: picture", "gpt.svg")
    check("char_gpt: writes 400 characters", len(got.stdout.split("\n\n", 2)[-1]) >= 400)
    words = [run(GPT, "--epochs", "1", "--seed", "2").stdout.split("validation loss,")[1:]
             for _ in range(2)]
    check("char_gpt: same seed, same text", words[0] and words[0] == words[1], repr(words))
    Path("own.txt").write_bytes(bytes(range(256)) * 20)
    got = run(GPT, "--data", "own.txt", "--epochs", "1", "--sample", "0")
    check("char_gpt: all 256 bytes", got.returncode == 0, repr(got))
    Path("short.txt").write_text("too short")
    bad("char_gpt: a short text", [GPT, "--data", "short.txt"], "short.txt", "9 bytes")
    bad("char_gpt: no such file", [GPT, "--data", "absent"], "absent", "No such file")
    bad("char_gpt: a directory", [GPT, "--data", "."], ".: ", "irectory")


def test_pinn():
    for seed in range(3):
        got = run(PINN, "--seed", str(seed), "--svg", "pinn.svg")
        worst = number(r"largest error .*: ([0-9.e+-]+)", got)
        check(f"pinn: largest error {worst}, at most 0.001", worst <= 1e-3, repr(got))
    picture("pinn: picture", "pinn.svg")


def test_options():
    for program in (DIGITS, GPT, PINN):
        name = os.path.basename(program)
        got = run(program, "--help")
        check(f"{name}: --help", got.returncode == 0 and got.stderr == "" and
              got.stdout.startswith(f"Usage: {name} ") and "--seed" in got.stdout, repr(got))
        for arguments in (["--unknown"], ["file"], [""], ["--seed"], ["--seed", "-1"],
                          ["--seed", "1x"], ["--seed="], ["--seed", "18446744073709551616"]):
            bad(f"{name}: {' '.join(arguments)}", [program, *arguments])
    short = {DIGITS: "--epochs", GPT: "--epochs", PINN: "--steps"}
    for program, option in short.items():
        name = os.path.basename(program)
        bad(f"{name}: {option} 0", [program, option, "0"], option + " 0")
        bad(f"{name}: --svg ''", [program, "--svg", ""], "--svg")
        bad(f"{name}: a picture that cannot be", [program, option, "1", "--svg", "absent/a.svg"],
            "absent/a.svg", status=1)
        if os.path.exists("/dev/full"):
            with open("/dev/full", "w") as full:
                got = subprocess.run([program, option, "1"], stdout=full, stderr=subprocess.PIPE,
                                     timeout=100)
            check(f"{name}: a full disk", got.returncode == 1 and b"output" in got.stderr,
                  repr(got))


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
