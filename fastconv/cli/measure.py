"""Times one job in NumPy, in fastconv and in its peers, in turns, after checking that they agree."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

import fastconv
from fastconv import reference
from fastconv.cli.jobs import Array, Job
from fastconv.cli.numpy_conv import FORMULATIONS
from fastconv.cli.peers import PeerProcess, Refused
from fastconv.cli.phase_times import phase_shares
from fastconv.cli.problems import Problem
from fastconv.cli.timing import Turn, best_times, turn

__all__ = ["HELD", "PEER_TOLERANCE", "TOLERANCE", "Measurement", "check", "measure", "peer_error"]

HELD = "Conv2d"
"""The candidate whose weights are held packed: `fastconv.Conv2d`."""

TOLERANCE = {"float32": 1e-4, "float64": 1e-12}
"""Largest difference from NumPy's result that passes, relative to the root mean square of the result."""

PEER_TOLERANCE = {"float32": 1e-3, "float64": 1e-12}
"""Largest root mean square error of a peer that passes: MNN's large Winograd tiles reach 2.5e-4, bfloat16 2e-3."""

_Call = Callable[[], object]


@dataclass(frozen=True)
class Measurement:
    """Times of one job, in seconds.

    `errors` holds the peers' RMS errors relative to the result's size, `refused` why an algorithm or a peer does not
    serve the layer; `chosen` is what ``"auto"`` takes, with the variant. `phases` are those of the first candidate that
    serves the layer, as `phase_shares` gives them, or empty.
    """

    network: str
    job: Job
    numpy: dict[str, float]
    fastconv: dict[str, float]
    peers: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    chosen: tuple[tuple[str, str], ...] = ()
    phases: dict[str, float] = field(default_factory=dict)

    @property
    def algorithm(self) -> str:
        """Name of what ``"auto"`` takes; of two gradients that differ, both."""
        return "+".join(dict.fromkeys(name for name, _ in self.chosen))

    @property
    def problem(self) -> Problem:
        """The layer."""
        return self.job.problem

    def gflops(self, seconds: float) -> float:
        """GFLOP/s of the direct convolution at a time in seconds."""
        return self.job.flops / seconds / 1e9

    def rivals(self) -> dict[str, float]:
        """Return the times of NumPy's fastest formulation, of each peer and of the best peer."""
        result = {"NumPy": min(self.numpy.values())} if self.numpy else {}
        result.update(self.peers)
        if self.peers:
            result["best peer"] = min(self.peers.values())
        return result

    def speed_up(self, candidate: str, rival: str) -> float | None:
        """How many times faster than one of `rivals` a candidate is, or None where one of them did not run."""
        rivals = self.rivals()
        if candidate not in self.fastconv or rival not in rivals:
            return None
        return rivals[rival] / self.fastconv[candidate]


def _check_kind(name: str, actual: Array, expected: Array, of: str) -> None:
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise ArithmeticError(
            f"{name}: {actual.dtype} {actual.shape}, but {of} gives {expected.dtype} {expected.shape}"
        )


def check(name: str, actual: Array, expected: Array, of: str = "NumPy") -> None:
    """Raise `ArithmeticError` if a result is further from that of `of` than `TOLERANCE` allows."""
    _check_kind(name, actual, expected, of)
    scale = float(np.sqrt(np.mean(np.square(expected))))
    error = float(np.max(np.abs(actual - expected))) / scale
    limit = TOLERANCE[expected.dtype.name]
    if not error <= limit:
        raise ArithmeticError(f"{name}: differs from {of} by {error:.1e} of the result's size, more than {limit:.0e}")


def _numpy_calls(job: Job, x: Array, w: Array, dy: Array) -> dict[str, _Call]:
    if job.operation == "conv_backward":
        return {"reference": partial(reference.conv2d_backward, dy, x, w, **job.problem.conv_kwargs)}
    return {name: partial(formulation, x, w, job.problem) for name, formulation in FORMULATIONS.items()}


def _fastconv_call(job: Job, candidate: str, x: Array, w: Array, dy: Array) -> _Call:
    geometry = job.problem.conv_kwargs
    if candidate == HELD:
        return partial(fastconv.Conv2d(w, **geometry), x)
    if job.operation == "conv_backward":
        return partial(fastconv.conv2d_backward, dy, x, w, algo=candidate, **geometry)
    return partial(fastconv.conv2d, x, w, algo=candidate, **geometry)


def _as_tuple(value: object) -> tuple[Array, ...]:
    return value if isinstance(value, tuple) else (value,)


def peer_error(name: str, results: tuple[Array, ...], expected: tuple[Array, ...], of: str) -> float:
    """Return the RMS error of a peer relative to the result's size; raise `ArithmeticError` if it is too large."""
    errors = []
    for actual, wanted in zip(results, expected, strict=True):
        _check_kind(name, actual, wanted, of)
        errors.append(float(np.sqrt(np.mean(np.square(actual - wanted)) / np.mean(np.square(wanted)))))
    limit = PEER_TOLERANCE[expected[0].dtype.name]
    if not max(errors) <= limit:
        raise ArithmeticError(f"its RMS error is {max(errors):.1e} of the result's size, more than {limit:.0e}")
    return max(errors)


def measure(
    network: str,
    job: Job,
    *,
    candidates: Sequence[str],
    rounds: int,
    seconds: float,
    numpy: bool = True,
    peers: Iterable[PeerProcess] = (),
    phases: bool = False,
) -> Measurement:
    """Time NumPy's formulations, fastconv's candidates and the peers on one job, in turns.

    Parameters
    ----------
    network : str
        Name of the network, for the report.
    job : Job
        A convolution, forward or backward.
    candidates : sequence of str
        Values of the ``algo`` argument of `fastconv.conv2d`, and `HELD`.
    rounds, seconds : int, float
        As those of `best_times`.
    numpy : bool
        Whether NumPy takes part; without it, results are compared with those of ``algo="im2col"``.
    peers : iterable of PeerProcess
        Who else takes part.
    phases : bool
        Whether to look, after the race, at what the threads of the first candidate do.

    Raises
    ------
    ArithmeticError
        If a candidate's result is wrong. A peer whose result is wrong is refused instead.
    """
    x, w, dy = job.arrays()
    numpy_calls = _numpy_calls(job, x, w, dy) if numpy else {}
    of = "NumPy" if numpy else "algo='im2col'"
    expected = _as_tuple(next(iter(numpy_calls.values()), _fastconv_call(job, "im2col", x, w, dy))())
    name = job.problem.name
    refused: dict[str, str] = {}
    errors: dict[str, float] = {}
    calls: dict[str, _Call] = {}
    for candidate in candidates:
        try:
            call = _fastconv_call(job, candidate, x, w, dy)
            result = call()
        except ValueError as error:
            refused[candidate] = str(error)
            continue
        for actual, wanted in zip(_as_tuple(result), expected, strict=True):
            check(f"{name}, algo={candidate!r}", actual, wanted, of)
        calls[candidate] = call
    groups: list[Mapping[str, Turn]] = [
        {f"numpy {name}": partial(turn, call) for name, call in numpy_calls.items()},
        {f"fastconv {name}": partial(turn, call) for name, call in calls.items()},
    ]
    for peer in peers:
        try:
            errors[peer.peer.name] = peer_error(name, peer.prepare(job), expected, of)
        except (Refused, ArithmeticError) as reason:
            refused[peer.peer.name] = str(reason)
        else:
            groups.append({f"peer {peer.peer.name}": partial(_peer_turn, peer, refused)})
    times = best_times([group for group in groups if group], rounds=rounds, seconds=seconds)

    def of_kind(kind: str) -> dict[str, float]:
        found = {key.removeprefix(kind): time for key, time in times.items() if key.startswith(kind)}
        return {name: time for name, time in found.items() if name not in refused}

    return Measurement(
        network,
        job,
        numpy=of_kind("numpy "),
        fastconv=of_kind("fastconv "),
        peers=of_kind("peer "),
        errors=errors,
        refused=refused,
        chosen=_chosen(job),
        phases=phase_shares(next(iter(calls.values())), fastconv.get_num_threads()) if phases and calls else {},
    )


def _peer_turn(peer: PeerProcess, refused: dict[str, str]) -> float:
    """Let a peer take its turn; one that fails at it is out of the race, not the end of it."""
    name = peer.peer.name
    if name not in refused:
        try:
            return peer.turn()
        except Refused as reason:
            refused[name] = str(reason)
    return float("inf")


def _chosen(job: Job) -> tuple[tuple[str, str], ...]:
    """Return what ``algo="auto"`` takes; of two gradients that by the input, then that by the weights."""
    problem, geometry = job.problem, job.problem.conv_kwargs
    operations = ("backward_input", "backward_weight") if job.operation == "conv_backward" else ("forward",)
    found = [
        fastconv.algorithms(problem.x_shape, problem.w_shape, dtype=job.dtype, operation=operation, **geometry)
        for operation in operations
    ]
    return tuple(dict.fromkeys((best[0].name, best[0].variant) for best in found if best))
