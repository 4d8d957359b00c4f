"""PyTorch, eager and compiled, on as many threads as the process may use cores.

Eager: a module, the loss and the optimizer as in PyTorch's own tutorials, and the leaner loop that asks for
the gradients and updates all weights in one call; the faster counts.

Compiled: compiling the module alone makes these steps slower than eager ones, for two reasons: each call into
compiled code has its price, and the random numbers of compiled dropout are slow on a CPU. So the whole step
(forward, gradient, update) is compiled as one function, with masks from a hash of a counter and a C++ wrapper
around the kernels; and for the smallest networks several steps are written out in one call.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from benchmarks.peers import task

STEPS_A_CALL, SMALL = 8, 20_000  # several steps a call where batch × parameters stays below SMALL

torch.manual_seed(0)
torch.set_num_threads(1)


def batches(batch: int, dtype: str, at_once: int = 1) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return an epoch's batches as views of the permuted rows, which is faster than indexing in each step."""
    order = torch.from_numpy(task.order(batch).reshape(-1))
    X, y = (torch.from_numpy(array)[order] for array in task.data(dtype))
    return list(zip(X.split(batch * at_once), y.split(batch * at_once), strict=True))


def module(hidden: tuple[int, ...], dtype: torch.dtype) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for inputs, outputs in pairwise((task.FEATURES, *hidden)):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU(), torch.nn.Dropout(task.DROPOUT)]
    return torch.nn.Sequential(*layers, torch.nn.Linear(hidden[-1], 1)).to(dtype)


def eager_step(hidden: tuple[int, ...], lean: bool, dtype: torch.dtype) -> Callable[..., None]:
    network = module(hidden, dtype)
    weights = list(network.parameters())
    loss = torch.nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(weights, lr=task.LEARNING_RATE)

    def usual(X: torch.Tensor, y: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss(network(X).squeeze(1), y).backward()
        optimizer.step()

    def leaner(X: torch.Tensor, y: torch.Tensor) -> None:
        gradients = torch.autograd.grad(loss(network(X).squeeze(1), y), weights)
        with torch.no_grad():
            torch._foreach_add_(weights, gradients, alpha=-task.LEARNING_RATE)

    return leaner if lean else usual


def eager_step_seconds(hidden: tuple[int, ...], batch: int, dtype: str) -> float:
    """Seconds per training step."""
    epoch = batches(batch, dtype)
    steps = [eager_step(hidden, lean, epoch[0][0].dtype) for lean in (False, True)]
    return min(task.fastest_step(lambda t, step=step: step(*epoch[t]), batch) for step in steps)


def first_step_seconds() -> float:
    """Seconds from naming an architecture to its first finished eager step, batch 32."""
    X, y = batches(32, "float32")[0]
    return task.first_steps(lambda hidden: lambda: eager_step(hidden, False, X.dtype)(X, y))


def hashed_masks(counter: torch.Tensor, hidden: tuple[int, ...], batch: int, dtype: torch.dtype) -> tuple:
    """Masks from a bit of a 32-bit hash of a counter."""
    assert task.DROPOUT == 0.5, "one bit is a fair coin"
    units = batch * sum(hidden)
    word = torch.arange(units, dtype=torch.int32) + counter * units
    word = (word ^ (word >> 16)) * 0x7FEB352D
    word = (word ^ (word >> 15)) * (0x846CA68B - 2**32)
    coins = ((word >> 30) & 1).to(dtype) * 2
    return coins.reshape(batch, -1).split(list(hidden), dim=1)


def compiled_step_seconds(hidden: tuple[int, ...], batch: int, dtype: str) -> float:
    """Seconds per training step."""
    torch._inductor.config.cpp_wrapper = True
    at_once = STEPS_A_CALL if batch * task.parameters(hidden) < SMALL else 1
    calls = [part for part in batches(batch, dtype, at_once) if len(part[0]) == batch * at_once]
    weights = tuple(w.detach().clone() for w in module(hidden, calls[0][0].dtype).parameters())

    def loss(weights: tuple, X: torch.Tensor, y: torch.Tensor, counter: torch.Tensor) -> torch.Tensor:
        h = X
        masks = hashed_masks(counter, hidden, batch, X.dtype)
        for layer, mask in enumerate(masks):
            h = F.relu(F.linear(h, weights[2 * layer], weights[2 * layer + 1])) * mask
        return F.binary_cross_entropy_with_logits(F.linear(h, *weights[-2:]).squeeze(1), y)

    def step(weights: tuple, X: torch.Tensor, y: torch.Tensor, counter: torch.Tensor) -> tuple:
        # New weights, since compiled `w.add_(g, alpha=...)` came out wrong with torch 2.13; compared below.
        for i in range(at_once):
            rows = slice(i * batch, (i + 1) * batch)
            gradients = torch.func.grad(loss)(weights, X[rows], y[rows], counter + i)
            weights = tuple(w - task.LEARNING_RATE * g for w, g in zip(weights, gradients, strict=True))
        return weights

    compiled = torch.compile(step, fullgraph=True)
    counters = [torch.tensor(i * at_once, dtype=torch.int32) for i in range(len(calls))]

    def call(t: int) -> None:
        nonlocal weights
        weights = compiled(weights, *calls[t], counters[t])

    with torch.no_grad():
        arguments = (weights, *calls[0], counters[0])
        torch.testing.assert_close(compiled(*arguments), step(*arguments), rtol=1e-4, atol=1e-5)
        return task.fastest_step(call, batch * at_once) / at_once
