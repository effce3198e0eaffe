#!/usr/bin/env python3
"""Follows "How to add an op" in autograd/README.md to the letter, in a copy of the sources: inserts each block where its comment
says, builds, and runs the tests of all ops. Prints a line for each check, then "N passed, N failed".

usage: worked_example.py
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(os.environ.get("TAPEGRAD_SOURCE_DIR", Path(__file__).resolve().parent.parent))
PART = re.compile(r"<!-- insert: (\S+) (before|after): (.*?) -->\n```c\n(.*?)```\n", re.S)
MOST_LINES = 30

results = []


def check(name, ok, detail=""):
    results.append(ok)
    print(f"{'ok' if ok else 'not ok'} - {name}")
    if not ok:
        print(detail)
    return ok


def insert(folder, path, place, anchor, code):
    """Puts the code before or after the first line that starts with the anchor."""
    lines = (folder / path).read_text().splitlines(keepends=True)
    at = next((i for i, line in enumerate(lines) if line.startswith(anchor)), None)
    if at is None:
        return False
    lines.insert(at + (place == "after"), code)
    (folder / path).write_text("".join(lines))
    return True


def main():
    parts = PART.findall((SOURCE / "autograd/README.md").read_text())
    lines = sum(len([line for line in code.splitlines() if line.strip()]) for *_, code in parts)
    check(f"the example has at most {MOST_LINES} lines ({lines})", 0 < lines <= MOST_LINES)
    files = {path for path, *_ in parts}
    check(f"it touches three files ({', '.join(sorted(files))})", len(files) == 3)
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "tapegrad"
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("build*", ".git", "__pycache__"))
        for path, place, anchor, code in parts:
            check(f"{path}: there is a line that starts with '{anchor}'", insert(copy, path, place, anchor, code))
        build = Path(temporary) / "build"
        for step in (["meson", "setup", str(build), str(copy), "-Dexamples=false"],
                     ["meson", "test", "-C", str(build), "--suite", "ops", "--print-errorlogs"],
                     ["meson", "compile", "-C", str(build), "libtapegrad.a"]):
            run = subprocess.run(step, capture_output=True, text=True, check=False)
            if not check(" ".join(step[:2]), run.returncode == 0, run.stdout + run.stderr):
                break
        else:
            source = Path(temporary) / "use.c"
            source.write_text('#include "autograd/autograd.h"\n'
                              "int main(void)\n{\n"
                              "    ag_tape *tape = ag_tape_new(AG_F64);\n"
                              "    double y = ag_item(ag_softsign(ag_full(tape, AG_SCALAR, 3.0)));\n"
                              "    ag_tape_free(tape);\n    return y == 0.75 ? 0 : 1;\n}\n")
            program = Path(temporary) / "use"
            run = subprocess.run(["cc", "-I", str(copy), str(source), str(build / "libtapegrad.a"), "-lm", "-pthread",
                                  "-o", str(program)], capture_output=True, text=True, check=False)
            check("a program can call it", run.returncode == 0 and subprocess.run([program], check=False).returncode == 0,
                  run.stderr)
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
