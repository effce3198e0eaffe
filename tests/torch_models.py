"""Models exchanged with PyTorch as safetensors files: an MLP, a CNN, a transformer, a GRU.

usage: torch_models.py LIBRARY

The weights that one side made and wrote, the other reads; then both give the same outputs for the
same inputs: to 1e-5 in float, in double to 1e-11, relative to max(1, |expected|). In double, a few
steps of AdamW then leave both with the same weights, too. PyTorch's files are written and read by
the safetensors package; where that is absent, by a few lines here.

Prints `N passed, N failed`; without PyTorch it says so and is skipped (exit 77)."""
import ctypes
import json
import os
import struct
import tempfile

from torch_help import Report, distance, lib, torch

try:
    import numpy
    import safetensors.numpy as package
except ImportError:
    package = None
    print("the safetensors package is not installed: its format is written and read by this test")

nn = torch.nn
F = nn.functional
TYPES = {torch.float32: ("F32", "f"), torch.float64: ("F64", "d"), torch.int64: ("I64", "q")}


def save(tensors, path):
    if package:
        package.save_file({k: numpy.asarray(t.tolist(), str(t.dtype)[6:]).reshape(t.shape)
                           for k, t in tensors.items()}, path, {"format": "pt"})
        return
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, t in tensors.items():
        dtype, letter = TYPES[t.dtype]
        raw = struct.pack(f"<{t.numel()}{letter}", *t.flatten().tolist())
        header[name] = {"dtype": dtype, "shape": list(t.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def load(path):
    if package:
        return {k: torch.tensor(a.tolist(), dtype=getattr(torch, str(a.dtype))).reshape(a.shape)
                for k, a in package.load_file(path).items()}
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data, tensors = file.read(), {}
    header.pop("__metadata__", None)
    for name, entry in header.items():
        dtype, letter = next((t, c) for t, (n, c) in TYPES.items() if n == entry["dtype"])
        begin, end = entry["data_offsets"]
        values = [v for (v,) in struct.iter_unpack("<" + letter, data[begin:end])]
        tensors[name] = torch.tensor(values, dtype=dtype).reshape(entry["shape"])
    return tensors


def apply(name, layer, x, *more):
    return getattr(lib, f"nn_{name}_apply")(ctypes.byref(layer), x, *more)


# ---- The models, each written twice: there and here ----

class Perceptron(nn.Module):
    inputs = staticmethod(lambda: torch.randn(16, 8))

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(),
                                 nn.Linear(32, 3))

    def forward(self, x):
        return self.net(x)


def perceptron(params):
    sizes = (ctypes.c_int64 * 4)(8, 32, 32, 3)
    mlp = lib.nn_mlp_new(params, b"net", sizes, 4, ctypes.cast(lib.ag_tanh, ctypes.c_void_p))
    return lambda x: apply("mlp", mlp, x)


class Convolutional(nn.Module):
    inputs = staticmethod(lambda: torch.randn(4, 1, 14, 14))

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, stride=2, groups=2, bias=False)
        self.norm2 = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.relu(self.norm2(self.conv2(x)))
        return self.fc(F.avg_pool2d(x, 3).flatten(1))


def convolutional(params):
    conv1 = lib.nn_conv2d_new(params, b"conv1", 1, 8, lib.nn_conv_options(kernel=3, padding=1))
    norm1 = lib.nn_batch_norm_new(params, b"norm1", 8)
    conv2 = lib.nn_conv2d_new(params, b"conv2", 8, 16, lib.nn_conv_options(
        kernel=3, stride=2, groups=2, without_bias=True))
    norm2 = lib.nn_batch_norm_new(params, b"norm2", 16)
    fc = lib.nn_linear_new(params, b"fc", 16, 10)

    def forward(x):
        x = lib.ag_relu(apply("norm", norm1, apply("conv", conv1, x)))
        x = lib.ag_max_pool2d(x, lib.ag_pool(kernel=2))
        x = lib.ag_relu(apply("norm", norm2, apply("conv", conv2, x)))
        x = lib.ag_avg_pool2d(x, lib.ag_pool(kernel=3))
        return apply("linear", fc, lib.ag_reshape(x, lib.shape(-1, 16)))
    return forward


class Transformer(nn.Module):
    """Reads characters, predicts the next one."""
    inputs = staticmethod(lambda: torch.randint(0, 20, (3, 12)).double())

    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(20, 24)
        self.position = nn.Parameter(torch.randn(12, 24) * 0.1)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(24, 4, 96, dropout=0.0, activation="gelu", batch_first=True,
                                       norm_first=first) for first in (True, False))
        self.norm = nn.LayerNorm(24)
        self.head = nn.Linear(24, 20, bias=False)

    def forward(self, x):
        hidden = torch.ones(12, 12, dtype=torch.bool).triu(1)
        x = self.token(x.long()) + self.position
        for block in self.blocks:
            x = block(x, src_mask=hidden)
        return self.head(self.norm(x))


def transformer(params):
    token = lib.nn_embedding_new(params, b"token", 20, 24)
    position = lib.nn_parameter(params, b"position", lib.shape(12, 24))
    blocks = [lib.nn_transformer_new(params, b"blocks.%d" % i, 24, lib.nn_transformer_options(
        heads=4, causal=True, post_norm=i == 1)) for i in range(2)]
    norm = lib.nn_layer_norm_new(params, b"norm", 24)
    head = lib.nn_linear_without_bias_new(params, b"head", 24, 20)

    def forward(x):
        x = lib.ag_add(apply("embedding", token, x), position)
        for block in blocks:
            x = apply("transformer", block, x)
        return apply("linear", head, apply("norm", norm, x))
    return forward


class Recurrent(nn.Module):
    inputs = staticmethod(lambda: torch.randn(3, 9, 4))

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 12, 2, batch_first=True)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def recurrent(params):
    rnn = lib.nn_recurrent_new(params, b"rnn", lib.NN_GRU, 4, 12, 2)
    head = lib.nn_linear_new(params, b"head", 12, 3)
    return lambda x: apply("linear", head, apply("recurrent", rnn, x, None))


# ---- Exchanging them ----

class Here:
    def __init__(self, make, dtype, training):
        self.tape = lib.tape(dtype)
        self.params = lib.nn_params_new(self.tape, 5)
        self.forward = make(self.params)
        lib.nn_set_training(self.params, training)

    def output(self, x):
        return lib.get(self.forward(lib.input(self.tape, x)))

    def file(self, function, *arguments):
        """What is wrong with nn_save_... or nn_load_..., or ""."""
        error = lib.nn_error()
        good = function(self.params, *arguments, ctypes.byref(error))
        return "" if good else error.text.decode()


def trained_a_little(module, dtype):
    """A module whose norms and averages are not at their first values."""
    module = module().to(dtype)
    with torch.no_grad():
        for p in module.parameters():
            p += 0.1 * torch.randn(p.shape)
        for _ in range(3):
            module(module.inputs().to(dtype))
    return module.eval()


def exchange(name, module, make, dtype, path):
    what = f"{name}, {str(dtype)[6:]}"
    tolerance = 1e-5 if dtype == torch.float32 else 1e-11
    x = module.inputs().to(dtype)

    there = trained_a_little(module, dtype)
    save(there.state_dict(), path)
    here = Here(make, dtype, False)
    said = here.file(lib.nn_load_safetensors_with, path.encode(), lib.NN_ALLOW_EXTRA)
    report.check(not said, f"{what}: PyTorch's file is read here", said)
    far = distance(here.output(x), there(x))
    report.check(far <= tolerance, f"{what}: and gives the same outputs", far)
    lib.ag_tape_free(here.tape)

    here, there = Here(make, dtype, False), module().to(dtype).eval()
    said = here.file(lib.nn_save_safetensors, path.encode())
    stored = load(path)
    try:
        there.load_state_dict(stored)
    except (RuntimeError, KeyError) as error:
        said = str(error)
    same = all(t.dtype == dtype for t in stored.values())
    report.check(not said and same, f"{what}: our file is read by PyTorch", said)
    far = distance(here.output(x), there(x))
    report.check(far <= tolerance, f"{what}: and gives the same outputs there", far)
    if dtype == torch.float64:
        train(what, here, there, path)
    lib.ag_tape_free(here.tape)


def train(what, here, there, path):
    """The same steps on both sides, from the same weights to the same weights."""
    there.train()
    lib.nn_set_training(here.params, True)
    theirs = torch.optim.AdamW(there.parameters(), lr=0.01, weight_decay=0.01)
    options = lib.nn_adamw(0.01)
    options.weight_decay, options.clip_norm = 0.01, 0.5
    ours = lib.nn_optimizer_new(here.params, options)
    for _ in range(5):
        x = there.inputs()
        y = there(x)
        target = torch.randint(0, y.shape[-1], y.shape[:-1])
        loss = F.cross_entropy(y.flatten(0, -2), target.flatten(), label_smoothing=0.1)
        theirs.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(there.parameters(), 0.5)
        theirs.step()
        y = here.forward(lib.input(here.tape, x))
        lib.ag_backward(lib.nn_cross_entropy_with(y, lib.input(here.tape, target), 0.1,
                                                  lib.NN_IGNORE_INDEX, lib.NN_MEAN))
        lib.nn_step(ours)
        lib.ag_tape_reset(here.tape)
    said = lib.error(here.tape) or here.file(lib.nn_save_safetensors, path.encode())
    stored, far = load(path), 0.0
    for name, t in there.state_dict().items():
        if name in stored:
            far = max(far, distance(stored[name], t, 1e-3))
    report.check(not said and far < 1e-6, f"{what}: five steps give the same weights", said or far)


torch.manual_seed(3)
report = Report()
with tempfile.TemporaryDirectory() as folder:
    for title, theirs, ours in [
            ("MLP", Perceptron, perceptron), ("CNN", Convolutional, convolutional),
            ("transformer", Transformer, transformer), ("GRU", Recurrent, recurrent)]:
        for number in (torch.float32, torch.float64):
            exchange(title, theirs, ours, number, os.path.join(folder, "weights.safetensors"))
report.end()
