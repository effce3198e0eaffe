"""Files exchanged with NumPy and Python's safetensors, both ways, through tests/file_tool.

usage: files_interop.py FILE_TOOL

Prints `N passed, N failed`; without NumPy it says so and is skipped (exit 77)."""
import gzip
import os
import struct
import subprocess
import sys
import tempfile
import zipfile

try:
    import numpy as np
except ImportError:
    print("skipped: NumPy is not installed")
    sys.exit(77)
try:
    import safetensors.numpy as st
    from safetensors import safe_open
except ImportError:
    st = None

tool = sys.argv[1]
folder = tempfile.TemporaryDirectory()
passed = failed = 0


def check(what, good, detail=""):
    global passed, failed
    passed += bool(good)
    failed += not good
    if not good:
        print("FAILED:", what, detail)


def run(*arguments):
    done = subprocess.run([tool, *arguments], capture_output=True, text=True)
    return done.returncode, done.stderr.strip()


def path(name):
    return os.path.join(folder.name, name)


def same(a, b):
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


# ---- NumPy ----

rng = np.random.default_rng(1)
shapes = [(), (1,), (7,), (0,), (3, 4), (2, 0, 3), (2, 3, 4), (1, 2, 1, 3, 1, 2, 1, 2)]
wide = ["i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8"]
types = ["?", "i1", "u1"] + [o + t for o in "<>" for t in wide]


def random_array(shape, dtype, order):
    size = np.dtype(dtype).itemsize
    if np.dtype(dtype).kind == "f":
        a = rng.standard_normal(shape) * 100
    else:
        low = -100 if np.dtype(dtype).kind == "i" else 0
        a = rng.integers(low, 100, shape) * 256 ** (size // 2)
    return np.asarray(a).astype(dtype, order=order)


def written(what, a):
    """`a`, read and written again as float64, is what NumPy makes of it."""
    code, message = run("npy", path("in.npy"), path("out.npy"))
    check(what, code == 0, message)
    if code == 0:
        expected = np.ascontiguousarray(a.astype("<f8")).reshape(a.shape)
        check(what, same(np.load(path("out.npy")), expected), a)


for dtype in types:
    for shape in shapes:
        for order in "CF":
            a = random_array(shape, dtype, order)
            np.save(path("in.npy"), a)
            written(f"npy {dtype} {shape} {order}", a)
for version in [(1, 0), (2, 0), (3, 0)]:
    a = random_array((3, 4), "<f4", "F")
    with open(path("in.npy"), "wb") as f:
        np.lib.format.write_array(f, a, version)
    written(f"npy version {version}", a)
for a, rule in [(np.array(["x"]), "is not read"), (np.zeros(2, "c8"), "is not read"),
                (np.zeros(2, [("a", "f4")]), "structured dtypes are not read")]:
    np.save(path("in.npy"), a)
    code, message = run("npy", path("in.npy"), path("out.npy"))
    check("npy refused", code == 1 and rule in message, message)

for save in (np.savez, np.savez_compressed):
    arrays = {f"{i}_{len(s)}": random_array(s, t, "F")
              for i, t in enumerate(types) for s in shapes[3:6]}
    arrays["large"] = np.repeat(rng.standard_normal(300), 200).reshape(300, 200)
    arrays["noise"] = rng.standard_normal(70000)
    arrays["\u00e4"] = np.arange(3.0)
    save(path("in.npz"), **arrays)
    code, message = run("npz", path("in.npz"), path("out.npz"))
    check(save.__name__, code == 0, message)
    with zipfile.ZipFile(path("out.npz")) as z:
        check("zip is whole", z.testzip() is None)
    with np.load(path("out.npz")) as out:
        check("npz names", list(out) == list(arrays), list(out))
        for name, a in arrays.items():
            check(f"npz {name}", same(out[name], np.ascontiguousarray(a.astype("<f8"))))
for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
    with zipfile.ZipFile(path("in.npz"), "w", method) as z, z.open("a.npy", "w") as f:
        np.save(f, np.ones(100))
    code, message = run("npz", path("in.npz"), path("out.npz"))
    check("zip method refused", code == 1 and "is compressed by method" in message, message)

for level in (None, 0, 1, 6, 9):
    a = (rng.integers(0, 256, (60, 28, 28)) * (rng.random((60, 28, 28)) > 0.8)).astype("u1")
    raw = struct.pack(">HBB3I", 0, 8, 3, *a.shape) + a.tobytes()
    with open(path("in.idx"), "wb") as f:
        f.write(raw if level is None else gzip.compress(raw, level))
    code, message = run("idx", path("in.idx"), path("out.npy"))
    check(f"idx {level}", code == 0 and same(np.load(path("out.npy")), a.astype("<f4")), message)
with open(path("in.idx"), "wb") as f:
    f.write(gzip.compress(raw[:1000]) + gzip.compress(raw[1000:]))
code, message = run("idx", path("in.idx"), path("out.npy"))
check("gzip of two members", code == 0 and same(np.load(path("out.npy")), a.astype("<f4")), message)

# ---- safetensors ----


def same_tensors(a, b):
    return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)


def exchange():
    names = ["w", "layer.0.weight", "\u00e4 \"quoted\" \\ \n", "\U0001f600", ""]
    all_types = ["?", "u1", "i1"] + wide
    for metadata in (None, {"format": "pt", "\u00e4\"": "\\\t"}):
        tensors = {f"{n}{t}{s}": random_array(s, t, "C")
                   for n in names for t in all_types for s in shapes}
        st.save_file(tensors, path("in.safetensors"), metadata)
        code, message = run("copy-safetensors", path("in.safetensors"), path("out.safetensors"))
        check("safetensors copy", code == 0, message)
        check("safetensors same", same_tensors(st.load_file(path("out.safetensors")), tensors))
        with safe_open(path("out.safetensors"), "numpy") as f:
            check("safetensors metadata", f.metadata() == metadata, f.metadata())
    for extra, dtype in ([], "f4"), (["f64"], "f8"):
        for source in ("f2", "f4", "f8"):
            tensors = {f"{n}{s}": random_array(s, source, "C")
                       for n in ["a", "b.weight"] for s in shapes if 0 not in s}
            st.save_file(tensors, path("in.safetensors"))
            code, message = run("load-save", path("in.safetensors"), path("out.safetensors"),
                                *extra)
            check(f"weights {source} to {dtype}", code == 0, message)
            if code == 0:
                loaded = st.load_file(path("out.safetensors"))
                expected = {k: v.astype(dtype) for k, v in tensors.items()}
                check(f"weights {source} to {dtype}", same_tensors(loaded, expected))
    st.save_file({"a": np.zeros(2, "i4")}, path("in.safetensors"))
    code, message = run("load-save", path("in.safetensors"), path("out.safetensors"))
    check("integers refused", code == 1 and "it must be F16, BF16, F32 or F64" in message, message)
    broken()


def broken():
    """What Python's reader refuses is refused here, too: single changed bytes of a header."""
    good = st.save({"ab": np.arange(3, dtype="f4"), "c": np.zeros((2, 1), "u1")}, {"k": "v"})
    length = 8 + struct.unpack("<Q", good[:8])[0]
    stricter = looser = 0
    for at in range(length):
        for byte in b" \",:[]{}019aS\\-\x00\x80\n":
            data = good[:at] + bytes([byte]) + good[at + 1:]
            try:
                st.load(data)
                theirs = True
            except Exception:
                theirs = False
            with open(path("in.safetensors"), "wb") as f:
                f.write(data)
            ours = run("copy-safetensors", path("in.safetensors"), path("out.safetensors"))[0] == 0
            stricter += theirs and not ours
            looser += ours and not theirs
            if ours and not theirs:
                print("accepted here alone:", data[:length])
    check("nothing accepted that Python's reader refuses", looser == 0)
    print(f"of {length * 17} damaged headers, {stricter} are refused here alone")


if st:
    exchange()
else:
    print("skipped: safetensors is not installed")
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
