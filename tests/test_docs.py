"""The examples of the README and of every docstring."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import fastconv
from fastconv.cli.peers import PEERS

# Adapters to other engines, which run in processes of their own.
ADAPTERS = {"fastconv.cli.peers.onnx_model", *(peer.adapter for peer in PEERS.values())}
MODULES = [
    "fastconv",
    *(
        info.name
        for info in pkgutil.walk_packages(fastconv.__path__, "fastconv.")
        if not info.name.endswith("__main__") and info.name not in ADAPTERS
    ),
]
CLIENTS = ("autograd", "dezero", "mygrad", "onnx")  # what a module of fastconv.integrations of the same name needs
PEERS = {"fastconv.cli.torch_net": "torch", "fastconv.cli.net_report": "rich"}
ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/networks.md"]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    client = name.rpartition(".")[2]
    if name.startswith("fastconv.integrations") and client in CLIENTS:
        pytest.importorskip(name)  # DeZero cannot be imported by itself on a new NumPy
    if name in PEERS:
        pytest.importorskip(PEERS[name])
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("page", PAGES)
def test_pages(page):
    failed, attempted = doctest.testfile(str(ROOT / page), module_relative=False)
    assert attempted > 0
    assert failed == 0


def test_every_public_operator_has_an_entry_in_all():
    for name in fastconv.__all__:
        assert getattr(fastconv, name).__doc__, name


def test_every_operator_has_a_reference():
    """Everything public that takes arrays; `Conv2d` is `conv2d`."""
    others = {
        "Algorithm", "Conv2d", "algorithms", "allow_winograd", "conv_output_size", "get_num_threads", "reference",
        "set_num_threads", "show_config", "threads",
    }  # fmt: skip
    assert set(fastconv.__all__) - others == set(fastconv.reference.__all__)
