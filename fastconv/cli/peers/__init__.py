"""Other engines that the benchmarks time, each in a process of its own, behind one interface.

A peer is a module with one function, ``prepare(job, threads)``: it sets a layer up as the engine's own users would,
weights packed beforehand where the engine allows it, and returns a `Prepared`. `PeerProcess` runs it in a worker.
"""

from fastconv.cli.peers.interface import Peer, Prepared, Refused
from fastconv.cli.peers.process import PeerProcess
from fastconv.cli.peers.registry import PEERS, installed

__all__ = ["PEERS", "Peer", "PeerProcess", "Prepared", "Refused", "installed"]
