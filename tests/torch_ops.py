"""Every op and loss of the headers against PyTorch: values, gradients and gradients of gradients.

usage: torch_ops.py LIBRARY [SEED]

Both sides get the same numbers; PyTorch computes in double. So what is compared is, in double, two
computations (1e-12; 1e-11 where differentiated twice), and in float one computation with its exact
result (5e-6, some 40 roundings). Differences count relative to max(1, |expected|), or, in `tight`
cases, to |expected| alone. An op that a header declares and no case compares is a failure.

Prints `N passed, N failed`; without PyTorch it says so and is skipped (exit 77)."""
import math
import re
import sys
import zlib

import torch_cases
import torch_cases_nn  # adds to the cases
from torch_help import Report, distance, header_section, lib, torch

TRIALS = 15


def tuple_of(y):
    return y if isinstance(y, tuple) else (y,)


def gradients_here(y, factors, wrt):
    """Of the sum of all y * factors, with respect to each of wrt; and that sum."""
    total = None
    for result, factor in zip(y, factors):
        term = lib.ag_sum(lib.ag_mul(result, lib.input(result.tape, factor)))
        total = lib.ag_add(total, term) if total else term
    made = lib.tensors([lib.ag_tensor()] * len(wrt))
    if not wrt or not lib.ag_gradients(total, lib.tensors(wrt), len(wrt), made):
        return []
    return list(made)


def gradients_there(y, factors, wrt, again):
    total = sum((result * factor).sum() for result, factor in zip(y, factors))
    if not total.requires_grad or not wrt:
        return [torch.zeros_like(x) for x in wrt]
    made = torch.autograd.grad(total, wrt, create_graph=again, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(wrt, made)]


def compare(made, dtype):
    """What disagrees, or ""."""
    rounded = lambda x: x.to(dtype).double()
    tolerance = made.loose * (1e-12 if dtype == torch.float64 else 5e-6)
    floor = (1e-300 if dtype == torch.float64 else 1e-37) if made.tight else 1.0
    again = dtype == torch.float64 and made.order > 1
    tape = lib.tape(dtype)
    inputs = [rounded(x).requires_grad_() for x in made.inputs]
    fixed = [rounded(x) for x in made.fixed]
    handles = [lib.input(tape, x) for x in inputs]
    y = tuple_of(made.ours(*handles, *(lib.input(tape, x) for x in fixed)))
    expected = tuple_of(made.theirs(*inputs, *fixed))
    pairs = [(f"result {i}", a, b, 1) for i, (a, b) in enumerate(zip(y, expected))]
    factors = [rounded(torch.randn(expected[0].shape))]
    g = gradients_here(y[:1], factors, handles)
    h = gradients_there(expected[:1], factors, inputs, again)
    if made.order > 0:
        pairs += [(f"gradient {i}", a, b, 1) for i, (a, b) in enumerate(zip(g, h))]
    if again and inputs and not lib.error(tape):
        factors = [torch.randn(x.shape) for x in inputs]
        pairs += [(f"second gradient {i}", a, b, 10) for i, (a, b) in enumerate(zip(
            gradients_here(g, factors, handles), gradients_there(h, factors, inputs, False)))]
    said = lib.error(tape) or ("gradients are missing" if len(g) != len(inputs) else "")
    for what, a, b, loose in pairs if not said else []:
        far = distance(lib.get(a), rounded(b.detach().double()), floor)
        if far > tolerance * loose:
            said = f"{what} differs by {far:.3g}: {lib.get(a)}, expected {b.detach()}"
            break
    lib.ag_tape_free(tape)
    return said


def run(name, make, seed):
    for dtype in (torch.float64, torch.float32):
        torch.manual_seed(zlib.crc32(name.encode()) ^ seed)
        said = ""
        for trial in range(TRIALS):
            made = make()
            said = compare(made, dtype)
            if said:
                said += f" (trial {trial}, inputs {[*made.inputs, *made.fixed]})"
                break
        report.check(not said, f"{name}, {str(dtype)[6:]}", said)


def dropped_at_random():
    """Dropout's elements are 0 or x / (1 - p), in the right share, and so is its gradient."""
    tape, p, n = lib.tape(torch.float64), 0.3, 20000
    x = lib.input(tape, torch.ones(n))
    y = lib.ag_dropout(x, p, True)
    g = lib.get(gradients_here([y], [torch.ones(n)], [x])[0])
    y = lib.get(y)
    kept = y != 0
    share = kept.double().mean().item()
    report.check(distance(y[kept], torch.full((int(kept.sum()),), 1 / (1 - p))) < 1e-12 and
                 torch.equal(g, y) and abs(share - (1 - p)) < 5 * math.sqrt(p * (1 - p) / n),
                 "ag_dropout drops at random", f"{share} kept")
    lib.ag_tape_free(tape)


def none_is_missing():
    declared = []
    for header, title in [("autograd/autograd.h", "Ops"), ("nn/nn.h", "Losses")]:
        declared += re.findall(r"AG_API\s+ag_tensor\s+(\w+)\(", header_section(header, title))
    compared = {function for _, functions, _ in torch_cases.cases for function in functions}
    report.check(len(declared) > 80, "the headers declare ops and losses", len(declared))
    for name in declared:
        if name not in compared:
            report.check(False, f"{name} is compared", "no case has it")
    for name in sorted(compared - set(declared)):
        report.check(False, f"{name} is declared", "no header has it")


report = Report()
none_is_missing()
for case_name, _, maker in torch_cases.cases:
    run(case_name, maker, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
dropped_at_random()
report.end()
