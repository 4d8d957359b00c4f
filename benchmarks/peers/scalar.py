"""Automatic differentiation of scalars in pure Python, as in courses.

Every weight, product and sum is an object that knows its parents and how to send its gradient back to them:
the shape of Karpathy's micrograd and of the course assignments after it, written for this comparison.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from benchmarks.peers import task


class Value:
    """A number with its gradient and the rule that passes the gradient to its parents."""

    def __init__(self, data: float, parents: tuple[Value, ...] = ()) -> None:
        self.data = data
        self.grad = 0.0
        self.parents = parents
        self.send_back: Callable[[], None] | None = None

    def __add__(self, other: Value | float) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data + other.data, (self, other))

        def send_back() -> None:
            self.grad += out.grad
            other.grad += out.grad

        out.send_back = send_back
        return out

    def __mul__(self, other: Value | float) -> Value:
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data * other.data, (self, other))

        def send_back() -> None:
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out.send_back = send_back
        return out

    def relu(self) -> Value:
        out = Value(max(self.data, 0.0), (self,))

        def send_back() -> None:
            if out.data > 0:
                self.grad += out.grad

        out.send_back = send_back
        return out

    def softplus(self) -> Value:
        """Return log(1 + exp(x)), without overflow."""
        out = Value(max(self.data, 0.0) + math.log1p(math.exp(-abs(self.data))), (self,))

        def send_back() -> None:
            self.grad += out.grad / (1 + math.exp(-self.data))

        out.send_back = send_back
        return out

    def backward(self) -> None:
        order: list[Value] = []
        seen: set[Value] = set()
        stack = [(self, False)]
        while stack:
            node, parents_done = stack.pop()
            if parents_done:
                order.append(node)
            elif node not in seen:
                seen.add(node)
                stack.append((node, True))
                stack.extend((parent, False) for parent in node.parents)
        self.grad = 1.0
        for node in reversed(order):
            if node.send_back is not None:
                node.send_back()


class Neuron:
    def __init__(self, weights: list[float], bias: float) -> None:
        self.weights = [Value(w) for w in weights]
        self.bias = Value(bias)

    def __call__(self, inputs: list[Value]) -> Value:
        total = self.bias
        for w, x in zip(self.weights, inputs, strict=True):
            total = total + w * x
        return total


def step_seconds(hidden: tuple[int, ...], batch: int, dtype: str) -> float:
    """Seconds per training step; Python's own numbers, so `dtype` is float64."""
    assert dtype == "float64"
    layers = [
        [Neuron(weights.tolist(), float(bias)) for weights, bias in zip(W.T, b, strict=True)]
        for W, b in task.initial(hidden, dtype)
    ]
    parameters = [p for layer in layers for neuron in layer for p in (*neuron.weights, neuron.bias)]
    X, y = (array.tolist() for array in task.data(dtype))
    order = task.order(batch).tolist()
    rng = np.random.default_rng(3)
    scale = 1 / (1 - task.DROPOUT)

    def score(row: list[float]) -> Value:
        h = [Value(x) for x in row]
        for layer in layers[:-1]:
            kept = (rng.random(len(layer)) >= task.DROPOUT).tolist()
            h = [
                neuron(h).relu() * (scale if keep else 0.0) for neuron, keep in zip(layer, kept, strict=True)
            ]
        return layers[-1][0](h)

    def step(t: int) -> None:
        total = Value(0.0)
        for row in order[t]:
            total = total + (score(X[row]) * (1 - 2 * y[row])).softplus()
        loss = total * (1 / batch)
        for p in parameters:
            p.grad = 0.0
        loss.backward()
        for p in parameters:
            p.data -= task.LEARNING_RATE * p.grad

    return task.fastest_step(step, batch)
