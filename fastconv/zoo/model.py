"""A network at work: parameters, forward and backward passes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastconv.arrays import Array, DType
from fastconv.zoo.blas import single_thread
from fastconv.zoo.catalogue import resolved
from fastconv.zoo.kinds import Branches, Layer, Network, Shape
from fastconv.zoo.steps import Chain, Step, Watch, step_of

__all__ = ["Model", "Parameters", "build"]


class Parameters(Mapping[str, Array]):
    """The parameters of a model by name. Assigning to one copies into its array, which must have the same shape."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self._arrays = arrays

    def __getitem__(self, name: str) -> Array:
        """Return the array itself: writing into it sets the parameter."""
        return self._arrays[name]

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        """Copy into the array; ValueError if the shapes differ or the model is frozen."""
        array = self._arrays[name]
        if value is array:  # parameters[name] -= step
            return
        value = np.asarray(value)
        if value.shape != array.shape:
            raise ValueError(f"{name} has shape {array.shape}, not {value.shape}")
        array[...] = value

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, from input to output."""
        return iter(self._arrays)

    def __len__(self) -> int:
        """Count the parameter arrays."""
        return len(self._arrays)


class Model:
    """A network with parameters, as `build` makes it.

    Attributes
    ----------
    network : Network
        The data it was built from.
    dtype : dtype
        Of parameters and computation.
    parameters : Parameters
        Arrays by "layer.weight" and "layer.bias": convolutions OIHW, fully connected layers (outputs, inputs), as
        PyTorch has them. Write into the arrays, or assign to their names.
    frozen : bool
        Whether `freeze` was called.

    Notes
    -----
    A model keeps the activations of its last forward pass, and overwrites them in the next: call one model from one
    thread at a time. What `forward` and `backward` return is the caller's. While they run, NumPy's BLAS has one thread
    in this process, if threadpoolctl is installed: its idle threads would spin on the cores of the convolutions.
    """

    def __init__(self, network: Network, dtype: DType, parameters: dict[str, Array]) -> None:
        self.network, self.dtype, self.frozen = network, dtype, False
        self.parameters = Parameters(parameters)
        self._steps: list[Step[Any]] = []
        self._chains: list[Chain] = []
        self._chain = self._build(network.layers, network.input)
        self._images: int | None = None  # of the last forward pass that backward may follow

    def _build(self, layers: tuple[Layer, ...], shape: Shape) -> Chain:
        steps: list[Step[Any]] = []
        for layer in layers:
            own = {name: self.parameters[f"{layer.name}.{name}"] for name in layer.parameters(shape)}
            chains = [self._build(c, shape) for c in layer.chains] if isinstance(layer, Branches) else []
            steps.append(step_of(layer, shape, own, chains))
            shape = steps[-1].output
        self._steps += steps
        self._chains.append(Chain(steps))
        return self._chains[-1]

    def forward(self, x: ArrayLike) -> Array:
        """Compute the output for a batch of images.

        Parameters
        ----------
        x : array_like, shape (N, C, H, W)
            Images of the size that the network has, converted to `dtype`. They are kept for `backward`.

        Returns
        -------
        ndarray, shape (N, features) or (N, C, H, W)
            The output of the last layer.

        Raises
        ------
        ValueError
            If the images have another shape than the network's input.
        """
        x = np.asarray(x, self.dtype)
        if x.shape[1:] != self.network.input:
            raise ValueError(f"{self.network.name} takes images (N, {_comma(self.network.input)}), not {x.shape}")
        self._images = None if self.frozen else len(x)
        with single_thread():
            return self._chain.forward(x, None).copy()

    def backward(self, dy: ArrayLike, *, input_gradient: bool = False) -> Array | None:
        """Compute the gradients for the images of the last forward pass.

        Parameters
        ----------
        dy : array_like
            Gradient of a loss by the output, in its shape.
        input_gradient : bool
            Whether the gradient by the images is wanted; training does without it.

        Returns
        -------
        ndarray, shape (N, C, H, W), or None
            The gradient by the images; None unless ``input_gradient``. Those by the parameters are in `gradients`.

        Raises
        ------
        ValueError
            If ``dy`` has not the shape of the output.
        RuntimeError
            Without a forward pass before it, or if the model is frozen.
        """
        if self._images is None:
            raise RuntimeError("a frozen model has no backward pass" if self.frozen else "backward follows forward")
        shape = (self._images, *self.network.output)
        dy = np.array(dy, self.dtype)  # the steps overwrite it
        if dy.shape != shape:
            raise ValueError(f"dy has shape {dy.shape}, but the output has {shape}")
        with single_thread():
            return self._chain.backward(dy, input_gradient)

    @property
    def gradients(self) -> dict[str, Array]:
        """Gradients by the parameters from the last `backward`, by the same names; the next one may overwrite them."""
        return {f"{step.layer.name}.{name}": g for step in self._steps for name, g in step.gradients.items()}

    def freeze(self) -> Model:
        """Make the parameters read-only and hold the convolutions' weights packed: forward passes alone, and faster.

        Returns
        -------
        Model
            The model itself.

        Notes
        -----
        Weights are packed, or transformed for Winograd's algorithm, in the first forward pass that follows. There is
        no way back; a new model takes copies of the parameters.
        """
        if not self.frozen:
            self.frozen, self._images = True, None
            for parameter in self.parameters.values():
                parameter.flags.writeable = False
            for step in self._steps:
                step.freeze()
        return self

    def watch(self, call: Watch | None) -> None:
        """Have ``call(layer, "forward" or "backward", seconds)`` after each layer; branches follow their own layers."""
        for chain in self._chains:
            chain.watch = call


def build(net: Network | str, seed: int = 0, dtype: DTypeLike = np.float32) -> Model:
    """Give a network parameters: random weights, biases of zero.

    Parameters
    ----------
    net : Network or str
        A network, or the name of one.
    seed : int
        Of the random weights.
    dtype : float32 or float64
        Of parameters and computation.

    Returns
    -------
    Model
        Ready for `Model.forward`.

    Raises
    ------
    ValueError
        If no network has that name.
    TypeError
        If the dtype is another.

    Notes
    -----
    Weights are normal with variance 2 / inputs of a unit: He et al., "Delving Deep into Rectifiers" (2015).

    Examples
    --------
    >>> import numpy as np
    >>> model = build("lenet5")
    >>> scores = model.forward(np.ones((2, 1, 32, 32)))
    >>> model.backward(np.ones_like(scores))
    >>> model.gradients["conv1.weight"].shape
    (6, 1, 5, 5)
    """
    net, dtype, rng = resolved(net), np.dtype(dtype), np.random.default_rng(seed)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"a model computes in float32 or float64, not {dtype}")
    parameters: dict[str, Array] = {}
    for layer, shape in net.walk():
        for name, size in layer.parameters(shape).items():
            parameters[f"{layer.name}.{name}"] = np.zeros(size, dtype) if name == "bias" else _he(rng, size, dtype)
    return Model(net, dtype, parameters)


def _he(rng: np.random.Generator, shape: Shape, dtype: DType) -> Array:
    weights = rng.standard_normal(shape, dtype.type)
    weights *= math.sqrt(2 / math.prod(shape[1:]))
    return weights


def _comma(shape: Shape) -> str:
    return ", ".join(map(str, shape))
