"""The shared library, the program's first argument, as Python calls it; and comparing with PyTorch.

The headers are the only source: every enum, struct and prototype marked AG_API is read from them,
so what is called here is what they declare. Without PyTorch, importing this ends the program as
skipped (exit 77). Uses nothing else but the standard library."""
import ctypes
import os
import re
import sys

try:
    import torch
except ImportError:
    print("skipped: PyTorch is not installed")
    sys.exit(77)

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
HEADERS = ("autograd/rng.h", "autograd/autograd.h", "nn/data.h", "nn/nn.h", "nn/layers.h",
           "nn/files.h")


def header_text(path):
    """What a header says in C: without comments, directives and what is for C++ alone."""
    with open(os.path.join(SOURCE, path), encoding="utf-8") as file:
        text = file.read().replace("\\\n", " ")
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"^#ifdef __cplusplus\n.*?^#(else|endif)", "", text, flags=re.S | re.M)
    return re.sub(r"^\s*#.*$", "", text, flags=re.M)


def header_section(path, title):
    """The part of a header that begins with the comment `---- title ----`."""
    with open(os.path.join(SOURCE, path), encoding="utf-8") as file:
        text = file.read()
    return text.split(f"/* ---- {title} ---- */")[1].split("/* ---- ")[0]


class Library:
    """All functions, structs and enum constants of the headers, as attributes."""

    def __init__(self, path):
        self.dll = ctypes.CDLL(path)
        self.types = {"void": None, "bool": ctypes.c_bool, "int": ctypes.c_int,
                      "unsigned": ctypes.c_uint, "float": ctypes.c_float,
                      "double": ctypes.c_double, "char": ctypes.c_char, "size_t": ctypes.c_size_t}
        for kind in "int8 uint8 int32 uint32 int64 uint64".split():
            self.types[kind + "_t"] = getattr(ctypes, "c_" + kind)
        for header in HEADERS:
            text = header_text(header)
            self.read_enums(text)
            self.read_structs(text)
            self.read_functions(text)

    def read_enums(self, text):
        for body, name in re.findall(r"enum\s*\{([^}]*)\}\s*(\w*)\s*;", text):
            value = -1
            for item in filter(str.strip, body.split(",")):
                constant, _, given = (part.strip() for part in item.partition("="))
                value = int(given, 0) if given else value + 1
                setattr(self, constant, value)
            if name:
                self.types[name] = ctypes.c_int

    def read_structs(self, text):
        for body, name in re.findall(r"typedef struct\s*\w*\s*\{([^}]*)\}\s*(\w+)\s*;", text):
            fields = []
            for line in filter(str.strip, body.split(";")):
                base, names = re.match(r"\s*((?:const\s+)?\w+)\s*(.*)", line, re.S).groups()
                for field in names.split(","):
                    fields.append(self.declared(base, field.strip()))
            self.types[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
            setattr(self, name, self.types[name])

    def declared(self, base, field):
        """The name and the type of `base field`, where field may be *name or name[size]."""
        name, size = re.match(r"[*\s]*(?:const)?[*\s]*(\w+)\s*(?:\[(\w+)\])?", field).groups()
        kind = self.type_of(base, field.count("*"))
        if size:
            kind = kind * (int(size) if size.isdigit() else getattr(self, size))
        return name, kind

    def type_of(self, base, stars):
        """Pointers are untyped, but for strings; so are the functions that typedefs name."""
        base = base.replace("const", "").strip()
        if stars:
            return ctypes.c_char_p if base == "char" and stars == 1 else ctypes.c_void_p
        return self.types[base]

    def read_functions(self, text):
        for base, stars, name, arguments in re.findall(
                r"AG_API\s+((?:const\s+)?\w+)\s*(\**)\s*(\w+)\s*\(((?:[^()]|\([^()]*\))*)\)", text):
            function = getattr(self.dll, name)
            function.restype = self.type_of(base, len(stars))
            if "..." not in arguments and "(*" not in arguments:
                function.argtypes = [self.argument(a) for a in arguments.split(",")]
            setattr(self, name, function)

    def argument(self, text):
        base, rest = re.match(r"\s*((?:const\s+)?\w+)\s*(.*)", text, re.S).groups()
        if base not in self.types and "*" in rest:
            return ctypes.c_void_p
        return self.type_of(base, rest.count("*"))

    # ---- Literals ----

    def shape(self, *dim):
        return self.ag_shape(len(dim), (ctypes.c_int64 * 8)(*dim))

    def axes(self, *axis):
        return self.ag_axes(len(axis), (ctypes.c_int * 8)(*axis))

    def ranges(self, slices):
        """Of Python's slices, as they would be written in C."""
        end, made = 2**63 - 1, []
        for s in slices:
            step = 1 if s.step is None else s.step
            start = s.start if s.start is not None else 0 if step > 0 else end
            stop = s.stop if s.stop is not None else end if step > 0 else -end
            made.append(self.ag_range(start, stop, step))
        return self.ag_ranges(len(made), (self.ag_range * 8)(*made))

    def tensors(self, items):
        return (self.ag_tensor * len(items))(*items)

    # ---- Tapes and values ----

    def tape(self, dtype):
        tape = self.ag_tape_new(self.AG_F32 if dtype == torch.float32 else self.AG_F64)
        self.ag_set_warning(tape, None, None)
        return tape

    def error(self, tape):
        text = self.ag_error(tape)
        return text.decode() if text else ""

    def input(self, tape, values):
        """A tensor of PyTorch's on the tape, with its shape and values."""
        x = self.ag_input(tape, b"x", self.shape(*values.shape))
        self.set(x, values)
        return x

    def set(self, x, values):
        raw = values.detach().double().flatten().tolist()
        return self.ag_set_f64(x, (ctypes.c_double * max(len(raw), 1))(*raw), len(raw))

    def get(self, x):
        """The values of a tensor, in double."""
        count = self.ag_count(x)
        raw = (ctypes.c_double * max(count, 1))()
        if not self.ag_get_f64(x, raw, count):
            raise RuntimeError(self.error(x.tape))
        shape = self.ag_shape_of(x)
        return torch.tensor(raw[:count], dtype=torch.float64).reshape(shape.dim[:shape.rank])


def distance(ours, theirs, floor=1.0):
    """The largest |ours - theirs| / max(floor, |theirs|) of all elements: infinite where shapes
    differ, or where one alone is NaN or infinite."""
    if ours.shape != theirs.shape:
        return float("inf")
    theirs = theirs.detach().double()
    same = (ours == theirs) | (ours.isnan() & theirs.isnan())
    error = (ours - theirs).abs() / theirs.abs().clamp(min=floor)
    error[same] = 0.0
    error[error.isnan()] = float("inf")
    return error.max().item() if error.numel() else 0.0


class Report:
    """Counts checks, says each, and ends the program."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, good, name, detail=""):
        self.passed += bool(good)
        self.failed += not good
        print(f"ok - {name}" if good else f"not ok - {name}: {detail}", flush=True)

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(self.failed > 0)


lib = Library(sys.argv[1])
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
