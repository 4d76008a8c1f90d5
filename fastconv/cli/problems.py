"""Convolution problems as data: one line of text a problem, shared by the tests, the benchmarks and the shell.

A line is a name, a colon and tokens of a key and a number::

    vgg3_2: n1 c256 h56 k256 r3 p1    # a comment

==========  ===========================================  =========
token       meaning                                      default
==========  ===========================================  =========
``n``       images in the batch                          1
``c``       input channels                               required
``h w``     input height and width, pixels               h required, w = h
``k``       output channels (filters)                    required
``r s``     filter height and width, pixels              r required, s = r
``u v``     vertical and horizontal stride               u = 1, v = u
``p q``     vertical and horizontal padding, each side   p = 0, q = p
``dh dw``   vertical and horizontal dilation             dh = 1, dw = dh
``g``       groups                                       1
==========  ===========================================  =========

Blank lines and what follows ``#`` are skipped. The letters are those of cuDNN's descriptors (NCHW, KCRS).
"""

import re
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import TypedDict

from fastconv.geometry import Sliding

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z")
_TOKEN = re.compile(r"([a-z]+)([0-9]+)\Z", re.ASCII)
_REQUIRED = ("c", "h", "k", "r")
_FROM = {"w": "h", "s": "r", "v": "u", "q": "p", "dw": "dh"}
_MAY_BE_ZERO = ("n", "p", "q")


class ConvArguments(TypedDict):
    """Keyword arguments of ``fastconv.conv2d`` that a problem fixes."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One 2-D convolution: sizes, stride, padding, dilation and groups, in the letters of the grammar.

    Raises
    ------
    ValueError
        If a size is out of range, the groups do not divide the channels, or the dilated filter does not fit into the
        padded input.
    """

    name: str
    n: int
    c: int
    h: int
    w: int
    k: int
    r: int
    s: int
    u: int = 1
    v: int = 1
    p: int = 0
    q: int = 0
    dh: int = 1
    dw: int = 1
    g: int = 1

    def __post_init__(self) -> None:
        """Refuse sizes that do not make a convolution."""
        for key in _KEYS:
            value = getattr(self, key)
            lowest = 0 if key in _MAY_BE_ZERO else 1
            if value < lowest:
                raise ValueError(f"{key} must be at least {lowest}, got {key}{value}")
        for key in ("c", "k"):
            if getattr(self, key) % self.g:
                raise ValueError(f"g{self.g} does not divide {key}{getattr(self, key)}")
        self._output_size()

    def _output_size(self) -> tuple[int, int]:
        sliding = Sliding.of(2, (self.u, self.v), (self.p, self.q), (self.dh, self.dw))
        return sliding.over((self.h, self.w), (self.r, self.s))[0]

    @property
    def x_shape(self) -> tuple[int, int, int, int]:
        """Shape of the input, NCHW."""
        return self.n, self.c, self.h, self.w

    @property
    def w_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weights, OIHW with I = c / g."""
        return self.k, self.c // self.g, self.r, self.s

    @property
    def y_shape(self) -> tuple[int, int, int, int]:
        """Shape of the output, NCHW; a filter that does not tile the input is floored."""
        return self.n, self.k, *self._output_size()

    @property
    def flops(self) -> int:
        """Floating-point operations of the direct convolution: two for each multiply-add, padding included."""
        n, k, oh, ow = self.y_shape
        return 2 * n * k * oh * ow * (self.c // self.g) * self.r * self.s

    @property
    def conv_kwargs(self) -> ConvArguments:
        """Stride, padding, dilation and groups as ``fastconv.conv2d`` takes them."""
        return {
            "stride": (self.u, self.v),
            "padding": (self.p, self.q),
            "dilation": (self.dh, self.dw),
            "groups": self.g,
        }

    def __str__(self) -> str:
        """Write the line of the grammar, every token spelled out."""
        return f"{self.name}: " + " ".join(f"{key}{getattr(self, key)}" for key in _KEYS)


_KEYS = tuple(field.name for field in fields(Problem) if field.name != "name")


def parse_line(line: str) -> Problem | None:
    """Parse one line of the grammar.

    Parameters
    ----------
    line : str
        The text of the line, with or without a comment.

    Returns
    -------
    Problem or None
        ``None`` for a line that is blank or only a comment.

    Raises
    ------
    ValueError
        If the line breaks the grammar or its sizes do not make a convolution.
    """
    text = line.partition("#")[0].strip()
    if not text:
        return None
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if not colon:
        raise ValueError(f"expected 'name: tokens', got {text!r}")
    if not _NAME.match(name):
        raise ValueError(f"a name is letters, digits and any of _ . + -, got {name!r}")
    values: dict[str, int] = {"n": 1, "u": 1, "p": 0, "dh": 1, "g": 1}
    seen: set[str] = set()
    for token in rest.split():
        match = _TOKEN.match(token)
        if match is None or match[1] not in _KEYS:
            raise ValueError(f"unknown token {token!r}; a token is one of {' '.join(_KEYS)} and a number")
        key = match[1]
        if key in seen:
            raise ValueError(f"{key} is given twice, the second time as {token!r}")
        seen.add(key)
        values[key] = int(match[2])
    missing = [key for key in _REQUIRED if key not in seen]
    if missing:
        raise ValueError(f"{name!r} lacks {' '.join(missing)}")
    for key, source in _FROM.items():
        values.setdefault(key, values[source])
    return Problem(name=name, **values)


def parse(text: str, source: str = "<string>") -> list[Problem]:
    """Parse a text of one problem a line.

    Parameters
    ----------
    text : str
        Lines of the grammar.
    source : str
        What error messages call the text, as a rule its file name.

    Returns
    -------
    list of Problem
        In the order of the text.

    Raises
    ------
    ValueError
        If a line is wrong or a name comes twice; the message starts with ``source:line``.
    """
    problems: dict[str, tuple[int, Problem]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            problem = parse_line(line)
        except ValueError as error:
            raise ValueError(f"{source}:{number}: {error}") from None
        if problem is None:
            continue
        if problem.name in problems:
            raise ValueError(
                f"{source}:{number}: {problem.name!r} is already the name of line {problems[problem.name][0]}"
            )
        problems[problem.name] = number, problem
    return [problem for _, problem in problems.values()]


def read(path: str | Path) -> list[Problem]:
    """Parse a file of one problem a line; errors as those of `parse`."""
    return parse(Path(path).read_text(encoding="utf-8"), source=str(path))


def network_names() -> list[str]:
    """Names of the networks whose layers come with the package, in the order of the alphabet."""
    layers = files("fastconv.cli") / "layers"
    return sorted(entry.name.removesuffix(".txt") for entry in layers.iterdir() if entry.name.endswith(".txt"))


def network(name: str) -> list[Problem]:
    """Convolution layers of a network that comes with the package.

    Parameters
    ----------
    name : str
        One of `network_names`.

    Raises
    ------
    ValueError
        If there is no network of that name.
    """
    if name not in network_names():
        raise ValueError(f"no network {name!r}; there are {', '.join(network_names())}")
    file = files("fastconv.cli") / "layers" / f"{name}.txt"
    return parse(file.read_text(encoding="utf-8"), source=f"{name}.txt")
