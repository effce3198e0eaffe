"""What torch_ops.py compares: ops on elements, products, reductions, shapes.

A case draws inputs (of a random shape, where it can) and says what is called here and what there.
"""
import math
from typing import Callable, NamedTuple

from torch_help import lib, torch

F = torch.nn.functional
inf, nan = math.inf, math.nan


class Case(NamedTuple):
    inputs: list  # differentiated
    ours: Callable  # of handles of inputs and of `fixed`: a result, or several, the first to follow
    theirs: Callable
    fixed: list = []  # not differentiated
    order: int = 2  # up to gradients of gradients; 1: up to gradients; 0: values
    tight: bool = False  # tiny results count as much as others
    loose: float = 1.0  # times the tolerance: of sums of many terms, or of large ones


cases = []  # name, the functions of the header that it compares, what makes a Case


def case(name, *functions):
    def add(make):
        cases.append((name, functions, make))
        return make
    return add


# ---- Drawing ----

def integer(low, high):
    return int(torch.randint(low, high + 1, ()))


def choice(items):
    return items[integer(0, len(items) - 1)]


def shape(least=0, most=4, size=5):
    return [integer(1, size) for _ in range(integer(least, most))]


def normal(*size, scale=1.0):
    return torch.randn(size) * scale


def few(*size):
    """Of few values, so that there are ties."""
    return torch.randint(-2, 3, size).double()


def positive(*size):
    return torch.rand(size) * 3 + 0.3


def parted(*size):
    """Away from 0."""
    return positive(*size) * torch.where(torch.rand(size) < 0.5, -1.0, 1.0)


def broadcasts(count, draw=normal, full=None):
    """Tensors that broadcast to a common shape: axes of size 1, leading axes left out."""
    full = shape() if full is None else full
    made = []
    for _ in range(count):
        size = [1 if integer(0, 3) == 0 else n for n in full]
        made.append(draw(*size[integer(0, len(size)) if integer(0, 1) else 0:]))
    return made


def some_axes(rank):
    """Some axes, in any order, some counted from the last."""
    chosen = torch.randperm(rank)[:integer(1, rank)].tolist()
    return [a - rank if integer(0, 1) else a for a in chosen]


# ---- Element-wise ----

def direct(name, function, draw=normal, count=1, **options):
    """Cases of an op of `count` tensors that broadcast."""
    ours = getattr(lib, name)
    case(name, name)(lambda: Case(broadcasts(count, draw), ours, function, **options))


def at_pairs(name, function):
    numbers = [-inf, -1.0, -0.0, 0.0, 1.0, inf, nan]
    x, y = torch.tensor([(x, y) for x in numbers for y in numbers]).unbind(-1)
    case(f"{name} at NaN", name)(lambda: Case([x, y], getattr(lib, name), function, order=0))


LARGE = torch.tensor([0.0, 1e-30, 1e-8, 0.5, 1., 5., 20., 50., 88., 100., 700., 1e3, 1e18, 1e30])
LARGE = torch.cat([LARGE, -LARGE])


def extreme(name, function, values=LARGE, label="extremes", **options):
    ours = getattr(lib, name)
    case(f"{name} at {label}", name)(lambda: Case([values], ours, function, **options))


def not_finite(name, function):
    extreme(name, function, torch.tensor([inf, -inf]), "infinity", order=1)
    extreme(name, function, torch.tensor([nan, 1.0]), "NaN", order=0)


def softplus(x):
    """PyTorch's own is x itself beyond 20."""
    low, high = x.clamp(max=0.0), x.clamp(min=0.0)
    return torch.where(x > 0.0, high + torch.log1p(torch.exp(-high)), torch.log1p(torch.exp(low)))


def sign(x):
    """NaN of NaN, as in NumPy; PyTorch's is 0."""
    return torch.where(x.isnan(), x, torch.sign(x))


def gelu_tanh(x):
    return F.gelu(x, approximate="tanh")


def elementwise():
    for name, function in [("add", torch.add), ("sub", torch.sub), ("mul", torch.mul),
                           ("maximum", torch.maximum), ("minimum", torch.minimum)]:
        direct(f"ag_{name}", function, count=2)
    direct("ag_div", torch.div, parted, count=2)
    direct("ag_pow", torch.pow, positive, count=2)
    for name in ["maximum", "minimum"]:
        direct(f"ag_{name}", getattr(torch, name), few, count=2)
        at_pairs(f"ag_{name}", getattr(torch, name))
    whole = [(x, y) for x in (-2.0, -1.0, 0.0, 1.0, 3.0) for y in (-2.0, -1.0, 0.0, 1.0, 3.0)]
    x, y = torch.tensor(whole).unbind(-1)  # the second derivative of x^1 at 0 is NaN in PyTorch
    case("ag_pow at whole powers", "ag_pow")(lambda: Case([x], lib.ag_pow, torch.pow, [y], order=1))
    for name, function in [("greater", torch.gt), ("greater_equal", torch.ge), ("less", torch.lt),
                           ("less_equal", torch.le), ("equal", torch.eq), ("not_equal", torch.ne)]:
        direct(f"ag_{name}", function, few, count=2)
        at_pairs(f"ag_{name}", function)
    constants = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}
    for name, function in constants.items():
        with_constant(f"ag_{name}_scalar", function)
    for name, function in [("sub", torch.sub), ("div", torch.div)]:
        @case(f"ag_scalar_{name}", f"ag_scalar_{name}")
        def _(name=name, function=function):
            c = integer(-8, 8) / 4
            return Case([parted(*shape())], lambda x: getattr(lib, f"ag_scalar_{name}")(c, x),
                        lambda x: function(torch.tensor(c), x))


def with_constant(name, function, draw=normal, constants=(-1.75, -1.0, 0.25, 0.5, 2.0, 3.0),
                  order=2):
    @case(name, name)
    def _():
        c = choice(constants)
        return Case([draw(*shape())], lambda x: getattr(lib, name)(x, c), lambda x: function(x, c),
                    order=order)


def unary():
    for name, function, draw in [
            ("neg", torch.neg, normal), ("exp", torch.exp, normal), ("log", torch.log, positive),
            ("sqrt", torch.sqrt, positive), ("square", torch.square, normal),
            ("sigmoid", torch.sigmoid, normal), ("tanh", torch.tanh, normal),
            ("relu", torch.relu, normal), ("relu", torch.relu, few), ("gelu", F.gelu, normal),
            ("gelu_tanh", gelu_tanh, normal), ("silu", F.silu, normal),
            ("softplus", softplus, normal), ("softplus", F.softplus, normal),
            ("abs", torch.abs, normal), ("abs", torch.abs, few), ("sign", torch.sign, few),
            ("sin", torch.sin, normal), ("cos", torch.cos, normal), ("erf", torch.erf, normal)]:
        direct(f"ag_{name}", function, draw)
    for name, function in [("exp", torch.exp), ("sigmoid", torch.sigmoid), ("tanh", torch.tanh),
                           ("relu", torch.relu), ("abs", torch.abs), ("erf", torch.erf),
                           ("square", torch.square), ("sign", sign)]:
        extreme(f"ag_{name}", function)
        not_finite(f"ag_{name}", function)
    for name, function in [("gelu", F.gelu), ("silu", F.silu)]:
        extreme(f"ag_{name}", function)
    # Beyond, x * x overflows in float, in PyTorch too.
    extreme("ag_gelu_tanh", gelu_tanh, LARGE[LARGE.abs() < 1e19])
    extreme("ag_softplus", softplus, order=1, tight=True)
    not_finite("ag_softplus", F.softplus)
    extreme("ag_log", torch.log, torch.tensor([0.0, 1e-30, 1.0, 1e30, -1.0, inf, nan]))
    extreme("ag_sqrt", torch.sqrt, torch.tensor([0.0, 1e-30, 1.0, 1e30, -1.0, inf, nan]))
    for name in ["sin", "cos"]:
        extreme(f"ag_{name}", getattr(torch, name), torch.tensor([0., 1e3, 1e5, -1e6, inf, nan]))
    slopes = (-0.5, 0.0, 0.01, 0.5, 2.0)
    for draw, order in ((normal, 2), (few, 1)):  # at 0 there is no second derivative
        with_constant("ag_leaky_relu", F.leaky_relu, draw, slopes, order)
        with_constant("ag_elu", F.elu, draw, (0.5, 1.0, 2.0), order)
    with_constant("ag_pow_scalar", torch.pow, positive)
    for c in (-2.0, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0):
        values = torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0, inf])
        case(f"ag_pow_scalar {c:g}", "ag_pow_scalar")(
            lambda c=c, x=values: Case([x], lambda x: lib.ag_pow_scalar(x, c),
                                       lambda x: torch.pow(x, c)))
    for draw in (normal, few):
        case("ag_clip", "ag_clip")(
            lambda draw=draw: Case([draw(*shape())], lambda x: lib.ag_clip(x, -1.0, 0.5),
                                   lambda x: torch.clamp(x, -1.0, 0.5)))


@case("ag_where", "ag_where")
def where():
    condition, x, y = broadcasts(3)
    return Case([x, y], lambda x, y, c: lib.ag_where(c, x, y),
                lambda x, y, c: torch.where(c != 0, x, y), [(condition > 0).double()])


# ---- Products ----

@case("ag_matmul", "ag_matmul")
def matmul():
    m, k, n = (integer(1, 40) if integer(0, 3) == 0 else integer(1, 6) for _ in range(3))
    batch = shape(0, 3, 3)
    x, y = broadcasts(2, lambda *size: torch.empty(size), batch)
    return Case([normal(*x.shape, m, k), normal(*y.shape, k, n)], lib.ag_matmul, torch.matmul,
                loose=4.0)


@case("ag_matmul with a vector", "ag_matmul")
def matmul_vector():
    k, batch = integer(1, 9), shape(1, 3)
    x, y = choice([(normal(k), normal(*batch, k, 3)), (normal(*batch, k), normal(k)),
                   (normal(k), normal(k)), (normal(*batch, 2, k), normal(k))])
    return Case([x, y], lib.ag_matmul, torch.matmul)


@case("ag_linear", "ag_linear")
def linear():
    k, n = integer(1, 9), integer(1, 9)
    return Case([normal(*shape(), k), normal(n, k), normal(n)], lib.ag_linear, F.linear)


# ---- Reductions and scans ----

def reductions():
    for name, function in [("sum", torch.sum), ("mean", torch.mean), ("max", torch.amax),
                           ("min", torch.amin), ("var", None)]:
        for draw in (normal, few):
            reduction(name, function, draw)
    case("ag_mean_square", "ag_mean_square")(
        lambda: Case([normal(*shape())], lib.ag_mean_square, lambda x: (x * x).mean()))


def reduction(name, function, draw):
    of_all, of_axes = getattr(lib, f"ag_{name}"), getattr(lib, f"ag_{name}_axes")
    more = lambda: (integer(0, 1),) if name == "var" else ()

    def expected(x, axes, keep, correction=0):
        if name == "var":
            return torch.var(x, axes, correction=correction, keepdim=keep)
        return function(x, axes, keepdim=keep)

    @case(f"ag_{name}", f"ag_{name}")
    def _():
        size, c = shape(1 if name == "var" else 0), more()
        x = draw(*size, 2) if name == "var" else draw(*size)
        return Case([x], lambda x: of_all(x, *c),
                    lambda x: expected(x, list(range(x.dim())), False, *c))

    @case(f"ag_{name}_axes", f"ag_{name}_axes")
    def _():
        size, c, keep = shape(1), more(), bool(integer(0, 1))
        axes = some_axes(len(size))
        if name == "var":
            size[axes[0]] += 1
        return Case([draw(*size)], lambda x: of_axes(x, lib.axes(*axes), *c, keep),
                    lambda x: expected(x, axes, keep, *c))


def drawn_axis(size):
    return integer(-len(size), len(size) - 1)


def spread(*size):
    """Values that overflow when exponentiated, some of them masked out."""
    x = normal(*size, scale=choice([1.0, 30.0, 1e4])) + choice([0.0, 1e3, -1e3])
    return torch.where(torch.rand(size) < 0.2, -inf, x) if integer(0, 1) else x


def logsumexp(x, axes, keep):
    """With a gradient of 0, where PyTorch's is NaN: where all is masked out."""
    masked = x.amax(axes, keepdim=True) == -inf
    y = torch.logsumexp(torch.where(masked, 0.0, x), axes, keep)
    return torch.where(masked.reshape(y.shape), -inf, y)


def along_an_axis():
    for name, function in [("softmax", torch.softmax), ("log_softmax", torch.log_softmax),
                           ("cumsum", torch.cumsum)]:
        for label, draw in [("", normal), (" of extremes", spread)]:
            if draw is spread and name == "cumsum":
                continue

            @case(f"ag_{name}{label}", f"ag_{name}")
            def _(name=name, function=function, draw=draw):
                size = shape(1)
                axis = drawn_axis(size)
                return Case([draw(*size)], lambda x: getattr(lib, f"ag_{name}")(x, axis),
                            lambda x: function(x, axis), order=1 if draw is spread else 2)
    for label, draw in [("", normal), (" of extremes", spread)]:
        @case(f"ag_logsumexp{label}", "ag_logsumexp")
        def _(draw=draw):
            size, keep = shape(1), bool(integer(0, 1))
            axes = some_axes(len(size))
            return Case([draw(*size)], lambda x: lib.ag_logsumexp(x, lib.axes(*axes), keep),
                        lambda x: logsumexp(x, axes, keep),
                        order=1 if draw is spread else 2, loose=12.0 if draw is spread else 1.0)

    @case("ag_logsumexp over axes apart, a row masked out", "ag_logsumexp")
    def _():
        x = normal(3, 2, 2)
        x[1, 0] = -inf
        return Case([x], lambda x: lib.ag_logsumexp(x, lib.axes(0, 2), False),
                    lambda x: torch.logsumexp(x, [0, 2]))
    for draw in (normal, few):
        @case("ag_argmax", "ag_argmax")
        def _(draw=draw):
            size, keep = shape(1), bool(integer(0, 1))
            axis = drawn_axis(size)
            return Case([draw(*size)], lambda x: lib.ag_argmax(x, axis, keep),
                        lambda x: torch.argmax(x, axis, keep))


# ---- Shapes and order ----

@case("ag_transpose", "ag_transpose")
def transpose():
    return Case([normal(*shape(2))], lib.ag_transpose, lambda x: x.transpose(-1, -2))


@case("ag_reshape", "ag_reshape")
def reshape():
    x = normal(*shape(1))
    n = x.numel()
    size = choice([[-1], [n], [1, -1], [n, 1, 1], [*x.shape, 1], [-1, x.shape[-1]]])
    return Case([x], lambda x: lib.ag_reshape(x, lib.shape(*size)), lambda x: x.reshape(size))


@case("ag_broadcast_to", "ag_broadcast_to")
def broadcast_to():
    size = shape(1)
    return Case(broadcasts(1, normal, size), lambda x: lib.ag_broadcast_to(x, lib.shape(*size)),
                lambda x: x.broadcast_to(size))


@case("ag_sum_to", "ag_sum_to")
def sum_to():
    size = shape(1)
    target = broadcasts(1, normal, size)[0].shape
    return Case([normal(*size)], lambda x: lib.ag_sum_to(x, lib.shape(*target)),
                lambda x: x.sum_to_size(target))


@case("ag_permute", "ag_permute")
def permute():
    size = shape(1, 5)
    axes = torch.randperm(len(size)).tolist()
    return Case([normal(*size)], lambda x: lib.ag_permute(x, lib.axes(*axes)),
                lambda x: x.permute(axes))


@case("ag_slice", "ag_slice")
def slices():
    size, ranges = shape(1, 4, 7), []
    for n in size[:integer(1, len(size))]:
        ends = [None, *range(-n - 2, n + 3)]
        chosen = slice(None)
        for _ in range(20):
            drawn = slice(choice(ends), choice(ends), choice([None, 1, 2, 3, -1, -2]))
            if len(range(n)[drawn]):
                chosen = drawn
        ranges.append(chosen)

    def expected(x):
        for axis, s in enumerate(ranges):
            x = x.index_select(axis, torch.tensor(range(x.shape[axis])[s]))
        return x
    return Case([normal(*size)], lambda x: lib.ag_slice(x, lib.ranges(ranges)), expected)


@case("ag_pad", "ag_pad")
def pad():
    size, value = shape(1), choice([0.0, 1.5, -2.0])
    before, after = ([integer(0, 3) for _ in size] for _ in range(2))
    pairs = [n for pair in zip(before[::-1], after[::-1]) for n in pair]
    return Case([normal(*size)],
                lambda x: lib.ag_pad(x, lib.shape(*before), lib.shape(*after), value),
                lambda x: F.pad(x, pairs, value=value))


@case("ag_concat", "ag_concat")
def concat():
    size = shape(1)
    axis, count = drawn_axis(size), integer(1, 4)
    parts = []
    for _ in range(count):
        size[axis] = integer(1, 4)
        parts.append(normal(*size))
    return Case(parts, lambda *x: lib.ag_concat(lib.tensors(x), count, axis),
                lambda *x: torch.cat(x, axis))


@case("ag_stack", "ag_stack")
def stack():
    size, count = shape(), integer(1, 4)
    axis = integer(-len(size) - 1, len(size))
    return Case([normal(*size) for _ in range(count)],
                lambda *x: lib.ag_stack(lib.tensors(x), count, axis),
                lambda *x: torch.stack(x, axis))


@case("ag_take", "ag_take")
def take():
    x = normal(*shape(1))
    indices = torch.randint(0, len(x), shape(0, 3))
    return Case([x], lib.ag_take, lambda x, i: x[i.long()], [indices.double()])


@case("ag_one_hot", "ag_one_hot")
def one_hot():
    indices = torch.randint(0, 5, shape(0, 3)).double()
    return Case([], lambda i: lib.ag_one_hot(i, 5), lambda i: F.one_hot(i.long(), 5), [indices])

elementwise()
unary()
reductions()
along_an_axis()
