"""Layers and optimisers against PyTorch: outputs, gradients, parameter names, initial values, updates.

usage: torch_layers.py LIBRARY

Each PyTorch module's weights go through a safetensors file into the layer of the same kind, whose
outputs and gradients (of every parameter and of the input) must then be the module's, in double.
Prints `N passed, N failed`; without PyTorch it says so and is skipped (exit 77)."""
import ctypes
import json
import os
import struct
import sys
import tempfile
from ctypes import POINTER, Structure, byref, c_bool, c_char_p, c_double, c_int, c_int64, c_size_t, c_void_p

try:
    import numpy
    import torch
except ImportError:
    print('skipped: PyTorch is not installed')
    sys.exit(77)

lib = ctypes.CDLL(sys.argv[1])
passed = failed = 0


def check(good, what, detail=''):
    global passed, failed
    passed += bool(good)
    failed += not good
    print(f'{"ok" if good else "not ok"} - {what}' + (f': {detail}' if not good and detail else ''))


# ---- The library ----

class Tensor(Structure):
    _fields_ = [('tape', c_void_p), ('index', ctypes.c_uint32), ('epoch', ctypes.c_uint32)]


class Shape(Structure):
    _fields_ = [('rank', c_int), ('dim', c_int64 * 8)]


class Linear(Structure):
    _fields_ = [('weight', Tensor), ('bias', Tensor)]


class ConvOptions(Structure):
    _fields_ = [(n, c_int64) for n in ('kernel', 'stride', 'padding', 'dilation', 'groups')] + [
        ('without_bias', c_bool)]


class Conv(Structure):
    _fields_ = [('weight', Tensor), ('bias', Tensor), ('options', c_int64 * 4)]


class Embedding(Structure):
    _fields_ = [('weight', Tensor)]


class Norm(Structure):
    _fields_ = [('kind', c_int), ('params', c_void_p)] + [
        (n, Tensor) for n in ('weight', 'bias', 'running_mean', 'running_var')] + [
        ('epsilon', c_double), ('momentum', c_double)]


class Recurrent(Structure):
    _fields_ = [('cell', c_int), ('hidden', c_int64), ('layers', c_int), ('layer', c_void_p)]


class State(Structure):
    _fields_ = [('h', Tensor), ('c', Tensor)]


class Attention(Structure):
    _fields_ = [('params', c_void_p), ('in_proj_weight', Tensor), ('in_proj_bias', Tensor), ('out_proj', Linear),
                ('heads', c_int64), ('dropout', c_double)]


class TransformerOptions(Structure):
    _fields_ = [('heads', c_int64), ('hidden', c_int64), ('activation', c_void_p), ('dropout', c_double),
                ('causal', c_bool), ('post_norm', c_bool)]


class Transformer(Structure):
    _fields_ = [('params', c_void_p), ('options', TransformerOptions), ('self_attn', Attention),
                ('linear1', Linear), ('linear2', Linear), ('norm1', Norm), ('norm2', Norm)]


class Options(Structure):
    _fields_ = [('method', c_int), ('rate', c_double), ('momentum', c_double), ('nesterov', c_bool)] + [
        (n, c_double) for n in ('beta1', 'beta2', 'epsilon', 'weight_decay', 'clip_norm')]


class Mlp(Structure):
    _fields_ = [('layer', c_void_p), ('layers', c_size_t), ('activation', c_void_p)]


def declare(result, arguments, *names):
    for name in names:
        getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments


P, S, I = c_void_p, c_char_p, c_int64
declare(P, [c_int], 'ag_tape_new')
declare(None, [P], 'ag_tape_free')
declare(S, [P], 'ag_error')
declare(P, [P, ctypes.c_uint64], 'nn_params_new')
declare(None, [P, c_bool], 'nn_set_training')
declare(c_size_t, [P], 'nn_params_count')
declare(Tensor, [P, c_size_t], 'nn_params_at')
declare(S, [Tensor], 'ag_name_of')
declare(c_bool, [P, S, ctypes.c_uint, P], 'nn_load_safetensors_with')
declare(Tensor, [P, S, Shape], 'ag_parameter')
declare(Tensor, [P, S, Shape, POINTER(c_double)], 'ag_input_f64')
declare(c_bool, [Tensor, POINTER(c_double), c_size_t], 'ag_set_f64', 'ag_get_f64')
declare(Shape, [Tensor], 'ag_shape_of')
declare(c_bool, [Tensor], 'ag_backward', 'ag_has_gradient', 'ag_trainable')
declare(Tensor, [Tensor], 'ag_gradient', 'ag_sum')
declare(Tensor, [Tensor, Tensor], 'ag_mul')
declare(Linear, [P, S, I, I], 'nn_linear_new', 'nn_linear_without_bias_new')
declare(Conv, [P, S, I, I, ConvOptions], 'nn_conv1d_new', 'nn_conv2d_new')
declare(Embedding, [P, S, I, I], 'nn_embedding_new')
declare(Norm, [P, S, I], 'nn_layer_norm_new', 'nn_rms_norm_new', 'nn_batch_norm_new')
declare(Recurrent, [P, S, c_int, I, I, c_int], 'nn_recurrent_new')
declare(Attention, [P, S, I, I], 'nn_attention_new')
declare(Transformer, [P, S, I, TransformerOptions], 'nn_transformer_new')
declare(Mlp, [P, S, POINTER(I), c_size_t, c_void_p], 'nn_mlp_new')
declare(Tensor, [P, Tensor], *('nn_%s_apply' % n for n in 'linear conv embedding norm transformer mlp'.split()))
declare(Tensor, [P, Tensor, POINTER(State)], 'nn_recurrent_apply')
declare(Tensor, [P, Tensor, Tensor, c_bool], 'nn_attention_apply')

declare(Options, [c_double], 'nn_sgd', 'nn_adam', 'nn_adamw', 'nn_rmsprop', 'nn_adagrad', 'nn_muon')
declare(P, [P, Options], 'nn_optimizer_new')
declare(c_bool, [P], 'nn_step')
declare(c_bool, [P, S, c_double, c_double], 'nn_set_group')
declare(c_bool, [P, S], 'nn_set_adamw')
declare(None, [P], 'ag_tape_reset')


def shape_of(t):
    return Shape(t.dim(), (c_int64 * 8)(*t.shape))


def doubles(t):
    values = t.detach().double().contiguous().flatten().tolist()
    return (c_double * len(values))(*values)


def values(x):
    shape = lib.ag_shape_of(x)
    size = list(shape.dim[:shape.rank])
    count = 1
    for n in size:
        count *= n
    out = (c_double * count)()
    lib.ag_get_f64(x, out, count)
    return torch.tensor(list(out), dtype=torch.double).reshape(size)


def save(path, tensors):
    """A safetensors file, as its specification says."""
    header, data = {}, b''
    for name, t in tensors.items():
        raw = struct.pack(f'<{t.numel()}d', *t.detach().flatten().tolist())
        header[name] = {'dtype': 'F64', 'shape': list(t.shape), 'data_offsets': [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text + data)


# ---- One layer against one module ----

class Ours:
    """A tape with a layer made by make(params), and the tensors of the module's inputs on it."""

    def __init__(self, make, name, state, training):
        self.tape = lib.ag_tape_new(1)
        self.params = lib.nn_params_new(self.tape, 1)
        self.layer = make(self.params)
        lib.nn_set_training(self.params, training)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'weights.safetensors')
            save(path, {name + k: v for k, v in state.items() if 'num_batches' not in k})
            error = ctypes.create_string_buffer(512)
            self.loaded = lib.nn_load_safetensors_with(self.params, path.encode(), 0, error)
            self.error = error.value.decode() if not self.loaded else ''

    def leaf(self, t):
        if not t.is_floating_point():
            return lib.ag_input_f64(self.tape, b'indices', shape_of(t), doubles(t))
        x = lib.ag_parameter(self.tape, b'x', shape_of(t))
        lib.ag_set_f64(x, doubles(t), t.numel())
        return x


def near(a, b):
    return a.shape == b.shape and bool(torch.allclose(a, b, rtol=1e-9, atol=1e-11))


def compare(what, module, make, apply, inputs, run=None, name='layer.', training=True):
    """run(module, *inputs) and apply(layer, *inputs) give the same; several outputs in a tuple."""
    module = module.double().train(training)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    inputs = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs]
    theirs = run(module, *inputs) if run else module(*inputs)
    theirs = theirs if isinstance(theirs, tuple) else (theirs,)
    ours = Ours(make, name, before, training)
    check(ours.loaded, f'{what}: the names are PyTorch\'s', ours.error)
    leaves = [ours.leaf(x) for x in inputs]
    results = apply(ours.layer, *leaves)
    results = results if isinstance(results, tuple) else (results,)
    error = lib.ag_error(ours.tape)
    if error or not ours.loaded:
        check(False, f'{what}: runs', error and error.decode())
        lib.ag_tape_free(ours.tape)
        return
    check(all(near(values(a), b) for a, b in zip(results, theirs)), f'{what}: outputs')
    factor = torch.randn_like(theirs[0])
    (theirs[0] * factor).sum().backward()
    lib.ag_backward(lib.ag_sum(lib.ag_mul(results[0], ours.leaf(factor))))
    bad = [f'x{i}' for i, (x, t) in enumerate(zip(leaves, inputs))
           if t.grad is not None and not near(values(lib.ag_gradient(x)), t.grad)]
    expected = {name + k: p.grad for k, p in module.named_parameters()}
    after = {name + k: v for k, v in module.state_dict().items()}
    for i in range(lib.nn_params_count(ours.params)):
        w = lib.nn_params_at(ours.params, i)
        key = lib.ag_name_of(w).decode()
        if lib.ag_trainable(w):
            bad += [] if near(values(lib.ag_gradient(w)), expected[key]) else [key]
        else:
            bad += [] if near(values(w), after[key]) else [key + ' afterwards']
    error = lib.ag_error(ours.tape)
    check(not bad and not error, f'{what}: gradients', ' '.join(bad) or error and error.decode())
    lib.ag_tape_free(ours.tape)


def one(function):
    return lambda layer, x: function(byref(layer), x)


def randn(*size):
    return torch.randn(*size, dtype=torch.double)


class RMSNorm(torch.nn.Module):
    """For PyTorch before 2.4."""

    def __init__(self, width):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps) * self.weight


def perturb(module):
    """Other than the ones and zeros that hide mistakes."""
    for p in list(module.parameters()) + [b for b in module.buffers() if b.is_floating_point()]:
        p.data += 0.3 * torch.rand_like(p)
    return module


def simple_layers():
    nn = torch.nn
    compare('linear', nn.Linear(5, 3), lambda p: lib.nn_linear_new(p, b'layer', 5, 3), one(lib.nn_linear_apply),
            [randn(2, 4, 5)])
    compare('linear without bias', nn.Linear(5, 3, bias=False),
            lambda p: lib.nn_linear_without_bias_new(p, b'layer', 5, 3), one(lib.nn_linear_apply), [randn(4, 5)])
    for groups, bias in ((1, True), (2, False)):
        options = ConvOptions(3, 2, 1, 2, groups, not bias)
        for what, module, make, size in (('conv1d', nn.Conv1d, lib.nn_conv1d_new, (2, 4, 11)),
                                         ('conv2d', nn.Conv2d, lib.nn_conv2d_new, (2, 4, 9, 7))):
            compare(f'{what}, groups {groups}, bias {bias}',
                    module(4, 6, 3, stride=2, padding=1, dilation=2, groups=groups, bias=bias),
                    lambda p: make(p, b'layer', 4, 6, options), one(lib.nn_conv_apply), [randn(*size)])
    compare('embedding', nn.Embedding(7, 4), lambda p: lib.nn_embedding_new(p, b'layer', 7, 4),
            one(lib.nn_embedding_apply), [torch.randint(7, (3, 5))])
    compare('mlp', nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)),
            lambda p: lib.nn_mlp_new(p, b'', (I * 4)(4, 6, 5, 2), 4, ctypes.cast(lib.ag_tanh, P)),
            one(lib.nn_mlp_apply), [randn(3, 4)], name='')


def norms():
    nn = torch.nn
    compare('layer_norm', perturb(nn.LayerNorm(6)), lambda p: lib.nn_layer_norm_new(p, b'layer', 6),
            one(lib.nn_norm_apply), [randn(2, 3, 6)])
    compare('rms_norm', perturb(getattr(nn, 'RMSNorm', RMSNorm)(6)), lambda p: lib.nn_rms_norm_new(p, b'layer', 6),
            one(lib.nn_norm_apply), [randn(2, 3, 6)])
    for training in (True, False):
        for module, size in ((nn.BatchNorm1d, (5, 3)), (nn.BatchNorm1d, (5, 3, 4)), (nn.BatchNorm2d, (4, 3, 2, 5))):
            compare(f'batch_norm, {len(size)} axes, {"training" if training else "inference"}', perturb(module(3)),
                    lambda p: lib.nn_batch_norm_new(p, b'layer', 3), one(lib.nn_norm_apply), [randn(*size)],
                    training=training)


def recurrent():
    for cell, module in enumerate((torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM)):
        for layers in (1, 2):
            def apply(layer, x):
                state = (State * layers)()
                y = lib.nn_recurrent_apply(byref(layer), x, state)
                return (y, *(s.h for s in state), *((s.c for s in state) if cell == 2 else ()))

            def run(m, x):
                y, last = m(x)
                return (y, *last) if cell < 2 else (y, *last[0], *last[1])

            make = lambda p: lib.nn_recurrent_new(p, b'layer', cell, 4, 5, layers)
            compare(f'{module.__name__}, {layers} layers', module(4, 5, layers, batch_first=True), make, apply,
                    [randn(3, 7, 4)], run)

            def apply_from(layer, x, *first):
                state = (State * layers)(*(State(h, Tensor()) for h in first[:layers]))
                for s, c in zip(state, first[layers:]):
                    s.c = c
                return lib.nn_recurrent_apply(byref(layer), x, state)

            def run_from(m, x, *first):
                h, c = torch.stack(first[:layers]), first[layers:]
                return m(x, (h, torch.stack(c)) if c else h)[0]

            first = [randn(3, 5) for _ in range(layers * (2 if cell == 2 else 1))]
            compare(f'{module.__name__}, {layers} layers, from a state', module(4, 5, layers, batch_first=True), make,
                    apply_from, [randn(3, 1, 4), *first], run_from)


def attention():
    make = lambda p: lib.nn_attention_new(p, b'layer', 8, 2)
    module = lambda: perturb(torch.nn.MultiheadAttention(8, 2, batch_first=True))
    mask = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
    compare('self-attention', module(), make, lambda a, x: lib.nn_attention_apply(byref(a), x, x, False),
            [randn(3, 5, 8)], lambda m, x: m(x, x, x)[0])
    compare('causal self-attention', module(), make, lambda a, x: lib.nn_attention_apply(byref(a), x, x, True),
            [randn(3, 5, 8)], lambda m, x: m(x, x, x, attn_mask=mask)[0])
    compare('cross-attention', module(), make, lambda a, x, y: lib.nn_attention_apply(byref(a), x, y, False),
            [randn(3, 5, 8), randn(3, 7, 8)], lambda m, x, y: m(x, y, y)[0])


def transformer():
    mask = torch.triu(torch.full((5, 5), -torch.inf, dtype=torch.double), 1)
    for post_norm, causal, activation in ((False, True, 'gelu'), (True, False, 'relu')):
        module = torch.nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, activation=activation, batch_first=True,
                                                  norm_first=not post_norm)
        options = TransformerOptions(2, 12, ctypes.cast(getattr(lib, 'ag_' + activation), P), 0.0, causal, post_norm)
        compare(f'transformer, {"post" if post_norm else "pre"}-norm, {activation}, causal {causal}', perturb(module),
                lambda p: lib.nn_transformer_new(p, b'layer', 8, options), one(lib.nn_transformer_apply),
                [randn(3, 5, 8)], lambda m, x: m(x, src_mask=mask) if causal else m(x))


def initial_values():
    """The same spread and the same bounds, as far as many draws can tell."""
    nn = torch.nn
    for what, module, make in (
            ('linear', nn.Linear(100, 200), lambda p: lib.nn_linear_new(p, b'', 100, 200)),
            ('conv1d', nn.Conv1d(32, 64, 5), lambda p: lib.nn_conv1d_new(p, b'', 32, 64, ConvOptions(kernel=5))),
            ('conv2d', nn.Conv2d(32, 64, 3, groups=2),
             lambda p: lib.nn_conv2d_new(p, b'', 32, 64, ConvOptions(kernel=3, groups=2))),
            ('embedding', nn.Embedding(200, 64), lambda p: lib.nn_embedding_new(p, b'', 200, 64)),
            ('layer_norm', nn.LayerNorm(64), lambda p: lib.nn_layer_norm_new(p, b'', 64)),
            ('batch_norm', nn.BatchNorm1d(64), lambda p: lib.nn_batch_norm_new(p, b'', 64)),
            ('LSTM', nn.LSTM(64, 48, 2), lambda p: lib.nn_recurrent_new(p, b'', 2, 64, 48, 2)),
            ('attention', nn.MultiheadAttention(64, 4), lambda p: lib.nn_attention_new(p, b'', 64, 4)),
            ('transformer', nn.TransformerEncoderLayer(64, 4, 128),
             lambda p: lib.nn_transformer_new(p, b'', 64, TransformerOptions(4, 128)))):
        tape = lib.ag_tape_new(1)
        params = lib.nn_params_new(tape, 2)
        make(params)
        theirs, bad = module.state_dict(), []
        theirs.pop('num_batches_tracked', None)
        for i in range(lib.nn_params_count(params)):
            w = lib.nn_params_at(params, i)
            key, a = lib.ag_name_of(w).decode(), values(w)
            b = theirs.pop(key).double()
            slack = 6.0 / a.numel() ** 0.5
            bound = 0.35 if what == 'embedding' else slack
            if (abs(a.mean() - b.mean()) > slack * (b.abs().max() or 1) or abs(a.std() - b.std()) > slack * b.std() or
                    abs(a.abs().max() - b.abs().max()) > bound * b.abs().max()):
                bad.append(key)
        check(not bad and not theirs and not lib.ag_error(tape), f'{what}: initial values', ' '.join([*bad, *theirs]))
        lib.ag_tape_free(tape)


def optimizers():
    """Twenty steps of a layer, by defaults and otherwise; the bias in a group of its own."""
    o = torch.optim
    for what, theirs, ours, change in (
            ('SGD', o.SGD, lib.nn_sgd, {'momentum': 0.9, 'weight_decay': 0.1}),
            ('Adam', o.Adam, lib.nn_adam, {'weight_decay': 0.1}),
            ('AdamW', o.AdamW, lib.nn_adamw, {'weight_decay': 0.2}),
            ('RMSprop', o.RMSprop, lib.nn_rmsprop, {'weight_decay': 0.1}),
            ('Adagrad', o.Adagrad, lib.nn_adagrad, {'weight_decay': 0.1})):
        for options in ({}, change):
            for group in (False, True):
                module = torch.nn.Linear(4, 3).double()
                made = Ours(lambda p: lib.nn_linear_new(p, b'layer', 4, 3), 'layer.', module.state_dict(), True)
                settings = ours(0.05)
                for key, value in options.items():
                    setattr(settings, key, value)
                step = lib.nn_optimizer_new(made.params, settings)
                groups = [{'params': [module.weight]}, {'params': [module.bias]}]
                if group:
                    lib.nn_set_group(step, b'*.bias', 0.5, 0.03)
                    groups[1].update(lr=0.025, weight_decay=0.03)
                optimizer = theirs(groups, lr=0.05, **options)
                for _ in range(20):
                    x, t = randn(5, 4), randn(5, 3)
                    optimizer.zero_grad()
                    (module(x) * t).sum().backward()
                    optimizer.step()
                    lib.ag_tape_reset(made.tape)
                    lib.ag_backward(lib.ag_sum(lib.ag_mul(
                        lib.nn_linear_apply(byref(made.layer), made.leaf(x)), made.leaf(t))))
                    lib.nn_step(step)
                error = lib.ag_error(made.tape)
                check(not error and near(values(made.layer.weight), module.weight) and
                      near(values(made.layer.bias), module.bias),
                      f'{what} {options or "by default"}{", with a group" if group else ""}', error)
                lib.ag_tape_free(made.tape)


def orthogonal(g):
    """Muon's iteration, which is a polynomial of the singular values alone."""
    u, s, v = numpy.linalg.svd(g / (numpy.linalg.norm(g) + 1e-7), full_matrices=False)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s ** 3 + 2.0315 * s ** 5
    return u * s @ v


def muon():
    """Twenty steps of a layer, wide, tall or square: its matrix by NumPy, its bias by PyTorch's AdamW."""
    for rows, cols in (3, 5), (6, 2), (4, 4), (1, 7):
        for nesterov, momentum, decay, spared in (True, 0.95, 0.01, False), (False, 0.8, 0.2, False), (True, 0.9, 0, True):
            module = torch.nn.Linear(cols, rows).double()
            made = Ours(lambda p: lib.nn_linear_new(p, b'layer', cols, rows), 'layer.', module.state_dict(), True)
            settings = lib.nn_muon(0.02)
            settings.nesterov, settings.momentum, settings.weight_decay = nesterov, momentum, decay
            step = lib.nn_optimizer_new(made.params, settings)
            if spared:
                lib.nn_set_adamw(step, b'*.weight')
            theirs = torch.optim.AdamW([*module.parameters()] if spared else [module.bias], lr=0.02, weight_decay=decay)
            w, m = module.weight.detach().numpy().copy(), numpy.zeros((rows, cols))
            for _ in range(20):
                x, t = randn(5, cols), randn(5, rows)
                theirs.zero_grad()
                (module(x) * t).sum().backward()
                theirs.step()
                g = t.numpy().T @ x.numpy()
                m = momentum * m + (1 - momentum) * g
                u = momentum * m + (1 - momentum) * g if nesterov else m
                w -= 0.02 * (0.2 * max(rows, cols) ** 0.5 * orthogonal(u) + decay * w)
                lib.ag_tape_reset(made.tape)
                lib.ag_backward(lib.ag_sum(lib.ag_mul(
                    lib.nn_linear_apply(byref(made.layer), made.leaf(x)), made.leaf(t))))
                lib.nn_step(step)
            error = lib.ag_error(made.tape)
            check(not error and near(values(made.layer.weight), module.weight if spared else torch.tensor(w)) and
                  near(values(made.layer.bias), module.bias),
                  f'Muon ({rows}, {cols}), momentum {momentum}{", a matrix spared" if spared else ""}', error)
            lib.ag_tape_free(made.tape)


torch.manual_seed(0)
torch.set_num_threads(1)
for group in (simple_layers, norms, recurrent, attention, transformer, initial_values, optimizers, muon):
    group()
print(f'{passed} passed, {failed} failed')
sys.exit(failed > 0)
