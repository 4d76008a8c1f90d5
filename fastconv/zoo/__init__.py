"""The lecture's networks as data, and one engine that runs any of them, forward and backward.

>>> from fastconv import zoo
>>> net = zoo.network("lenet5")
>>> sum(row.parameters for row in zoo.layers(net))
61706
"""

from fastconv.zoo.catalogue import names, network
from fastconv.zoo.grammar import parse
from fastconv.zoo.kinds import Network
from fastconv.zoo.model import Model, build
from fastconv.zoo.table import Row, layers, summary

__all__ = ["Model", "Network", "Row", "build", "layers", "names", "network", "parse", "summary"]
