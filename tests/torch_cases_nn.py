"""What torch_ops.py compares: convolution, pooling, normalisation, attention, losses."""
import math

from torch_cases import (LARGE, Case, case, choice, few, integer, normal, positive, shape, softplus)
from torch_help import lib, torch

F = torch.nn.functional


# ---- Convolution, pooling, normalisation, attention ----

def or_0(n):
    """1 may be written as 0."""
    return 0 if n == 1 and integer(0, 1) else n


def convolutions():
    for axes, function in [(1, F.conv1d), (2, F.conv2d)]:
        @case(f"ag_conv{axes}d", f"ag_conv{axes}d")
        def _(axes=axes, function=function):
            groups, kernel = integer(1, 3), [integer(1, 4) for _ in range(axes)]
            stride, padding, dilation = integer(1, 3), integer(0, 2), integer(1, 2)
            into, out = groups * integer(1, 3), groups * integer(1, 3)
            size = [dilation * (k - 1) + 1 + integer(0, 6) for k in kernel]
            x, w = normal(integer(1, 3), into, *size), normal(out, into // groups, *kernel)
            options = lib.ag_conv(or_0(stride), padding, or_0(dilation), or_0(groups))
            bias = [normal(out)] if integer(0, 1) else []
            return Case([x, w, *bias], lambda x, w, b=lib.ag_tensor():
                        getattr(lib, f"ag_conv{axes}d")(x, w, b, options),
                        lambda x, w, b=None: function(x, w, b, stride, padding, dilation, groups),
                        loose=4.0)
        for kind in ("max", "avg"):
            for draw in (normal, few):
                pooling(kind, axes, draw)


def pooling(kind, axes, draw):
    name = f"ag_{kind}_pool{axes}d"

    @case(name, name)
    def _():
        kernel, stride = integer(1, 4), integer(0, 3)
        padding = integer(0, kernel // 2)
        size = [kernel + integer(0, 6) for _ in range(axes)]
        function = getattr(F, name[3:])
        return Case([draw(integer(1, 3), integer(1, 3), *size)],
                    lambda x: getattr(lib, name)(x, lib.ag_pool(kernel, stride, padding)),
                    lambda x: function(x, kernel, stride or kernel, padding))


def alternating(size, axis):
    """Far enough from equal along an axis: what is divided by their deviation is not rounding."""
    signs = torch.tensor([(-2.0) ** (i % 2) for i in range(size[axis])])
    return normal(*size, scale=0.5) + signs.reshape(-1, *[1] * (len(size) - 1 - axis)) + 1.0


def norm_inputs():
    size = shape(2, 4, 6)
    size[-1] += 1
    axes = integer(1, len(size) - 1)
    return alternating(size, len(size) - 1), [normal(*size[-axes:]) for _ in range(2)], size[-axes:]


@case("ag_layer_norm", "ag_layer_norm")
def layer_norm():
    x, (w, b), size = norm_inputs()
    none = lib.ag_tensor()
    how = integer(0, 2)
    if how == 0:
        return Case([x], lambda x: lib.ag_layer_norm(x, none, none, 1e-5),
                    lambda x: F.layer_norm(x, x.shape[-1:], None, None, 1e-5))
    if how == 1:
        return Case([x, w], lambda x, w: lib.ag_layer_norm(x, w, none, 1e-5),
                    lambda x, w: F.layer_norm(x, size, w, None, 1e-5))
    return Case([x, w, b], lambda x, w, b: lib.ag_layer_norm(x, w, b, 1e-3),
                lambda x, w, b: F.layer_norm(x, size, w, b, 1e-3))


def rms(x, axes, epsilon):
    return x * torch.rsqrt((x * x).mean(axes, keepdim=True) + epsilon)


@case("ag_rms_norm", "ag_rms_norm")
def rms_norm():
    x, (w, _), size = norm_inputs()
    if integer(0, 1):
        return Case([x], lambda x: lib.ag_rms_norm(x, lib.ag_tensor(), 1e-5),
                    lambda x: rms(x, -1, 1e-5))
    axes = list(range(-len(size), 0))
    return Case([x, w], lambda x, w: lib.ag_rms_norm(x, w, 1e-5),
                lambda x, w: rms(x, axes, 1e-5) * w)


@case("ag_batch_norm", "ag_batch_norm")
def batch_norm():
    training, c = bool(integer(0, 1)), integer(1, 4)
    x = alternating([integer(2, 6), c, *shape(0, 2)], 0)
    momentum, epsilon = choice([(0.0, 0.0), (0.3, 1e-3)])
    options = lib.ag_batch_norm_options(training, momentum, epsilon)
    none = lib.ag_tensor()
    affine = [normal(c), normal(c)] if integer(0, 1) else []

    def ours(x, *rest):
        (w, b), stored = rest[:-2] or (none, none), rest[-2:]
        buffers = []
        for name, values in zip((b"mean", b"variance"), stored):
            buffers.append(lib.ag_buffer(x.tape, name, lib.shape(c)))
            lib.set(buffers[-1], lib.get(values))
        return (lib.ag_batch_norm(x, *buffers, w, b, options), *buffers)

    def theirs(x, *rest):
        (w, b), stored = rest[:-2] or (None, None), [t.clone() for t in rest[-2:]]
        y = F.batch_norm(x, *stored, w, b, training, momentum or 0.1, epsilon or 1e-5)
        return (y, *stored)
    return Case([x, *affine], ours, theirs, [normal(c), positive(c)])


@case("ag_dropout that drops nothing or all", "ag_dropout")
def dropout():
    p, training = choice([(0.0, True), (0.4, False), (1.0, True)])
    return Case([normal(*shape())], lambda x: lib.ag_dropout(x, p, training),
                lambda x: F.dropout(x, p, training))


@case("ag_scaled_dot_product_attention", "ag_scaled_dot_product_attention")
def attention():
    causal, length, keys, d, e = bool(integer(0, 1)), *(integer(1, 6) for _ in range(4))
    if causal and integer(0, 1):
        keys = length
    batch = shape(0, 2, 3)

    def theirs(q, k, v):
        scores = q @ k.transpose(-1, -2) / math.sqrt(d)
        if causal:
            hidden = torch.ones(length, keys, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(hidden, -math.inf)
        return torch.softmax(scores, -1) @ v
    return Case([normal(*batch, length, d), normal(*batch, keys, d), normal(*batch, keys, e)],
                lambda q, k, v: lib.ag_scaled_dot_product_attention(q, k, v, causal, 0.0),
                theirs)


# ---- Losses ----

def reduced():
    return choice([(lib.NN_MEAN, "mean"), (lib.NN_SUM, "sum")])


def losses():
    for name, function in [("mse_loss", F.mse_loss), ("l1_loss", F.l1_loss)]:
        for scale in (1.0, 1e4):
            @case(f"nn_{name}, scale {scale:g}", f"nn_{name}")
            def _(name=name, function=function, scale=scale):
                size, (ours, theirs) = shape(), reduced()
                return Case([normal(*size, scale=scale), normal(*size, scale=scale)],
                            lambda y, t: getattr(lib, "nn_" + name)(y, t, ours),
                            lambda y, t: function(y, t, reduction=theirs))
    for draw in (lambda *size: normal(*size, scale=2.0), few):
        @case("nn_huber_loss", "nn_huber_loss")
        def _(draw=draw):
            size, (ours, theirs), delta = shape(), reduced(), choice([0.5, 1.0, 2.0])
            return Case([draw(*size), draw(*size)],
                        lambda y, t: lib.nn_huber_loss(y, t, delta, ours),
                        lambda y, t: F.huber_loss(y, t, reduction=theirs, delta=delta), order=1)
    for label, scale in [("", 2.0), (" at extremes", 300.0)]:
        @case(f"nn_binary_cross_entropy_with_logits{label}", "nn_binary_cross_entropy_with_logits")
        def _(scale=scale):
            size, (ours, theirs) = shape(), reduced()
            t = torch.rand(size) if integer(0, 1) else few(*size).clamp(0, 1)
            return Case([normal(*size, scale=scale)],
                        lambda x, t: lib.nn_binary_cross_entropy_with_logits(x, t, ours),
                        lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction=theirs),
                        [t])

    @case("nn_binary_cross_entropy_with_logits, tight", "nn_binary_cross_entropy_with_logits")
    def _():
        t = choice([0.0, 1.0])
        x = LARGE[LARGE.abs() < 1e4][integer(0, 23)].reshape(1)
        return Case([x], lambda x, t: lib.nn_binary_cross_entropy_with_logits(x, t, lib.NN_SUM),
                    lambda x, t: (t * softplus(-x) + (1 - t) * softplus(x)).sum(),
                    [torch.full((1,), t)], tight=True, order=1)
    for label, scale in [("", 2.0), (" at extremes", 1e3)]:
        cross_entropy(label, scale)


def cross_entropy(label, scale):
    def drawn():
        size, classes = shape(0, 3), integer(1, 6)
        return normal(*size, classes, scale=scale), torch.randint(0, classes, size).double()

    def theirs(x, t, **options):
        return F.cross_entropy(x.reshape(-1, x.shape[-1]), t.long().flatten(), **options)

    @case(f"nn_cross_entropy{label}", "nn_cross_entropy")
    def _():
        (x, t), (ours, how) = drawn(), reduced()
        if integer(0, 1):
            t = torch.where(torch.rand(t.shape) < 0.3, -100.0, t)
        return Case([x], lambda x, t: lib.nn_cross_entropy(x, t, ours),
                    lambda x, t: theirs(x, t, reduction=how), [t])

    @case(f"nn_cross_entropy_with{label}", "nn_cross_entropy_with")
    def _():
        (x, t), (ours, how) = drawn(), reduced()
        smoothing, ignored = choice([0.0, 0.1, 1.0]), choice([0, 2, -100, -1])
        return Case([x], lambda x, t: lib.nn_cross_entropy_with(x, t, smoothing, ignored, ours),
                    lambda x, t: theirs(x, t, reduction=how, label_smoothing=smoothing,
                                        ignore_index=ignored), [t])


convolutions()
losses()
