"""The steps of the bench in other engines, one thread each: peers.py PEER ROWSxA-B-C...

Prints an object a line: peer (with its version), network, us (best of several batches) and loss (after one step).
A peer that is not installed prints nothing. compare.py and chart.py run this, each peer in a process of its own.
"""
import json
import os
import sys
import time

FIRST_RATE = 0.1  # of the step whose loss is compared
RATE = 1e-4  # of those that are timed
INPUTS, TARGETS, WEIGHTS = range(3)  # numbers of arrays, as in steps.c


def scattered(array, count):
    """The numbers of scattered() in bench.c."""
    import numpy as np

    h = np.arange(count, dtype=np.uint32) + np.uint32(array * 0x9E3779B1 & 0xFFFFFFFF)
    h = (h ^ h >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    h = (h ^ h >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return ((h ^ h >> np.uint32(16)).astype(np.float64) * 2.0**-31 - 1.0).astype(np.float32)


class Network:
    """Its data and the weights it starts from, float32."""

    def __init__(self, name):
        import numpy as np

        rows, sizes = name.split("x")
        self.rows, self.sizes = int(rows), [int(size) for size in sizes.split("-")]
        inputs, outputs = self.sizes[0], self.sizes[-1]
        self.classifies = outputs > 1
        self.x = scattered(INPUTS, self.rows * inputs).reshape(self.rows, inputs)
        self.classes = np.arange(self.rows) % outputs
        self.y = np.eye(outputs, dtype=np.float32)[self.classes] if self.classifies else \
            scattered(TARGETS, self.rows).reshape(self.rows, 1)
        self.weights = []
        for i, (m, n) in enumerate(zip(self.sizes, self.sizes[1:])):
            scale = np.float64(m) ** -0.5
            self.weights.append((scattered(WEIGHTS + i, m * n) * scale).astype(np.float32).reshape(m, n))
        self.biases = [np.zeros((1, n), np.float32) for n in self.sizes[1:]]


class NumPy:
    """The perceptron as one writes it after deriving its gradients on paper: every product of the chain rule by hand."""

    def __init__(self, network):
        self.network = network
        self.w = [w.copy() for w in network.weights]
        self.b = [b.copy() for b in network.biases]

    @staticmethod
    def version():
        import numpy

        return "NumPy " + numpy.__version__

    def forward(self):
        import numpy as np

        h = [self.network.x]
        for w, b in zip(self.w[:-1], self.b[:-1]):
            e = h[-1] @ w + b
            h.append(np.maximum(e, 0) if self.network.classifies else 1 / (1 + np.exp(-e)))
        return h, h[-1] @ self.w[-1] + self.b[-1]

    def loss(self):
        import numpy as np

        prediction = self.forward()[1]
        if not self.network.classifies:
            return np.mean((self.network.y - prediction) ** 2)
        shifted = prediction - prediction.max(axis=1, keepdims=True)
        logp = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return -np.mean(np.sum(self.network.y * logp, axis=1))

    def step(self, rate):
        import numpy as np

        h, prediction = self.forward()
        if self.network.classifies:
            p = np.exp(prediction - prediction.max(axis=1, keepdims=True))
            d = (p / p.sum(axis=1, keepdims=True) - self.network.y) / np.float32(self.network.rows)
        else:
            d = (prediction - self.network.y) * np.float32(2 / self.network.rows)
        for i in reversed(range(len(self.w))):
            dw, db = h[i].T @ d, d.sum(axis=0, keepdims=True)
            if i:
                d = d @ self.w[i].T
                d = d * (h[i] > 0) if self.network.classifies else d * h[i] * (1 - h[i])
            self.w[i] -= np.float32(rate) * dw
            self.b[i] -= np.float32(rate) * db

    def finish(self):
        pass


class Torch:
    """PyTorch, eager."""

    def __init__(self, network):
        import torch

        torch.set_num_threads(1)
        self.classifies = network.classifies
        self.x = torch.from_numpy(network.x)
        self.y = torch.from_numpy(network.classes if network.classifies else network.y)
        self.layers = len(network.weights)
        self.parameters = [torch.from_numpy(p).clone() for p in network.weights + network.biases]
        for p in self.parameters:
            p.requires_grad_()

    @staticmethod
    def version():
        import torch

        return "PyTorch " + torch.__version__

    def loss_of(self, parameters, x, y):
        import torch

        h, weights, biases = x, parameters[:self.layers], parameters[self.layers:]
        for w, b in zip(weights[:-1], biases[:-1]):
            h = torch.addmm(b, h, w)
            h = torch.relu(h) if self.classifies else torch.sigmoid(h)
        h = torch.addmm(biases[-1], h, weights[-1])
        loss = torch.nn.functional.cross_entropy if self.classifies else torch.nn.functional.mse_loss
        return loss(h, y)

    def loss(self):
        return self.loss_of(self.parameters, self.x, self.y).item()

    def step(self, rate):
        import torch

        loss = self.loss_of(self.parameters, self.x, self.y)
        gradients = torch.autograd.grad(loss, self.parameters)
        with torch.no_grad():
            torch._foreach_add_(self.parameters, gradients, alpha=-rate)

    def finish(self):
        pass


class TorchCompile(Torch):
    """PyTorch, the whole step compiled."""

    def __init__(self, network):
        import torch

        super().__init__(network)
        torch._dynamo.reset()
        self.parameters = [p.detach() for p in self.parameters]
        self.rates = {rate: torch.tensor(rate) for rate in (FIRST_RATE, RATE)}
        self.compiled = torch.compile(self.whole_step, dynamic=False)

    @staticmethod
    def version():
        import torch

        return "torch.compile " + torch.__version__ if hasattr(torch, "compile") else None

    def whole_step(self, parameters, x, y, rate):
        import torch

        gradients = torch.func.grad(self.loss_of)(parameters, x, y)
        for p, g in zip(parameters, gradients):
            p.sub_(rate * g)

    def step(self, rate):
        self.compiled(self.parameters, self.x, self.y, self.rates[rate])


class Jax:
    """JAX, the whole step compiled, parameters updated in place."""

    def __init__(self, network):
        import jax
        import numpy as np

        self.network = network
        self.x, self.y = jax.device_put(network.x), jax.device_put(network.y)
        self.parameters = [(jax.device_put(w), jax.device_put(b)) for w, b in zip(network.weights, network.biases)]
        self.rates = {rate: jax.device_put(np.float32(rate)) for rate in (FIRST_RATE, RATE)}
        self.compiled = jax.jit(self.whole_step, donate_argnums=0)

    @staticmethod
    def version():
        import jax

        return "JAX " + jax.__version__

    def loss_of(self, parameters, x, y):
        import jax
        import jax.numpy as jnp

        h = x
        for w, b in parameters[:-1]:
            h = h @ w + b
            h = jax.nn.relu(h) if self.network.classifies else jax.nn.sigmoid(h)
        prediction = h @ parameters[-1][0] + parameters[-1][1]
        if self.network.classifies:
            return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(prediction), axis=1))
        return jnp.mean((y - prediction) ** 2)

    def whole_step(self, parameters, x, y, rate):
        import jax

        gradients = jax.grad(self.loss_of)(parameters, x, y)
        return jax.tree_util.tree_map(lambda p, g: p - rate * g, parameters, gradients)

    def loss(self):
        return float(self.loss_of(self.parameters, self.x, self.y))

    def step(self, rate):
        self.parameters = self.compiled(self.parameters, self.x, self.y, self.rates[rate])

    def finish(self):
        self.parameters[0][0].block_until_ready()


PEERS = {"numpy": NumPy, "torch": Torch, "torch.compile": TorchCompile, "jax": Jax}


def best_time(peer, batches=40, batch_seconds=0.02, most_seconds=2.0):
    """Seconds a step takes: the best of several batches."""

    def batch(calls):
        start = time.perf_counter()
        for _ in range(calls):
            peer.step(RATE)
        peer.finish()
        return (time.perf_counter() - start) / calls

    batch(3)
    calls = max(1, int(batch_seconds / batch(3)))
    best, end = float("inf"), time.perf_counter() + most_seconds
    for i in range(batches):
        best = min(best, batch(calls))
        if i >= 3 and time.perf_counter() > end:
            break
    return best


def main():
    peer_class = PEERS[sys.argv[1]]
    if hasattr(os, "sched_setaffinity"):  # one core, whatever threads it starts
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    try:
        version = NumPy.version() and peer_class.version()  # the data are NumPy's
    except ImportError:
        return
    for name in sys.argv[2:] if version else []:
        peer = peer_class(Network(name))
        peer.step(FIRST_RATE)
        loss = float(peer.loss())
        print(json.dumps({"peer": version, "network": name, "us": 1e6 * best_time(peer), "loss": loss}), flush=True)


if __name__ == "__main__":
    main()
