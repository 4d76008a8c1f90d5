"""The examples of the README, of the documentation and of every docstring; what the documentation covers."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
import re
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
NEEDS = {"fastconv.cli.torch_net": "torch", "fastconv.cli.net_report": "rich"}
ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Each is what its sibling shows, in one dimension or for one argument.
WITHOUT_EXAMPLES = {
    "avg_pool1d_backward", "conv1d_backward_input", "conv1d_backward_weight", "get_num_threads", "max_pool1d_backward",
}  # fmt: skip
NOTEBOOK = ROOT / "examples" / "tour.ipynb"


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    client = name.rpartition(".")[2]
    if name.startswith("fastconv.integrations") and client in CLIENTS:
        pytest.importorskip(name)  # DeZero cannot be imported by itself on a new NumPy
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def prompts(page):
    """The text of a page with what it includes; the end of a block ends what doctest compares."""
    text = re.sub(r"{include} (\S+)", lambda found: (page.parent / found[1]).read_text(), page.read_text())
    return text.replace("```", "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages(page):
    text = prompts(page)
    examples = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    assert doctest.DocTestRunner().run(examples).failed == 0


def test_pages_with_examples():
    shown = {page.name for page in PAGES if ">>> " in page.read_text()}
    assert shown >= {"README.md", "arithmetic.md", "quickstart.md"}


def test_the_reference_has_every_public_name():
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    shown = set(re.findall(r"^\.\. auto(?:function|class):: (\w+)$", pages, re.MULTILINE))
    assert shown == set(fastconv.__all__) - {"reference"}


def test_every_public_function_shows_an_example():
    names = set(fastconv.__all__) - {"reference", "Algorithm"}
    lacking = {name for name in names if ">>> " not in getattr(fastconv, name).__doc__}
    assert lacking == WITHOUT_EXAMPLES


def test_the_notebook_holds_no_results():
    """The build of the documentation runs it."""
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


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
