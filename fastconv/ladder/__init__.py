"""The ladder: from seven loops in Python to the product, a step at a time.

Every step is one file that computes the same result as the one before with one idea more. ``python -m fastconv ladder``
runs and times them and shows their sources; ``docs/ladder.md`` explains them.

>>> from fastconv import ladder
>>> from fastconv.cli.problems import parse_line
>>> problem = parse_line("small: c2 h5 k3 r3 p1")
>>> step = ladder.FAMILIES["conv"][3]
>>> x, w = ladder.inputs(step, problem)
>>> ladder.run(step, x, w, problem).shape
(1, 3, 5, 5)
"""

from fastconv.ladder.runner import Timing, expected, inputs, measure, operations, run
from fastconv.ladder.steps import FAMILIES, Family, Step

__all__ = ["FAMILIES", "Family", "Step", "Timing", "expected", "inputs", "measure", "operations", "run"]
