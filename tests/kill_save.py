"""Kills a program that saves checkpoints without end, at random moments; after each kill the file
must be whole, and at least as new as the last save that was reported done.

usage: kill_save.py FILE_TOOL [TIMES]"""
import os
import random
import subprocess
import sys
import tempfile
import time

tool, times = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200
random.seed(1)
during = 0
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "run.checkpoint")
    for n in range(times):
        saver = subprocess.Popen([tool, "save-forever", path], stdout=subprocess.PIPE, text=True)
        first = saver.stdout.readline()  # there is a file
        time.sleep(random.random() * 0.02)
        saver.kill()
        done = ([first.strip()] + saver.stdout.read().split("\n")[:-1])[-1]
        saver.wait()
        during += os.path.exists(path + ".tmp")
        checked = subprocess.run([tool, "check", path], capture_output=True, text=True)
        files = set(os.listdir(folder)) - {"run.checkpoint", "run.checkpoint.tmp"}
        if checked.returncode != 0 or int(checked.stdout) < int(done) or files:
            print(f"kill {n}: done {done}, found {checked.stdout} {checked.stderr} {files}")
            sys.exit(1)
print(f"{times} kills, {during} of them within a save: a whole file each time")
