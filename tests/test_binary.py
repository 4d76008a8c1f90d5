"""The built extensions by objdump: wide registers only in functions that carry the name of their instruction set."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections import defaultdict

import pytest

from fastconv import _core, _ladder

pytestmark = [
    pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump"),
    pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86-64 registers"),
]

FUNCTION = re.compile(r"^[0-9a-f]+ <(?P<name>[^>]+)>:$")
INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\s+(?P<text>\S.*)$")
# What an instruction needs: zmm, registers past 15 and masks are AVX-512's; any other VEX encoding is AVX's.
AVX512 = re.compile(r"%zmm|%[xyz]mm(1[6-9]|2\d|3[01])\b|%k[0-7]\b")
AVX = re.compile(r"%ymm|^v\w+\s.*%xmm")
OF_ISA = re.compile(r"__(?P<isa>baseline|avx2|avx512)(\.\w+)*$")


MODULES = [_core, _ladder]


@pytest.fixture(scope="module", params=MODULES, ids=lambda module: module.__name__)
def needs(request):
    """For each function, the instruction sets that it needs: a set of "avx" and "avx512"."""
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", request.param.__file__], check=True, capture_output=True, text=True
    ).stdout
    found = defaultdict(set)
    name = None
    for line in listing.splitlines():
        if function := FUNCTION.match(line):
            name = function["name"]
            found[name] |= set()
        elif (instruction := INSTRUCTION.match(line)) and name:
            if AVX512.search(instruction["text"]):
                found[name].add("avx512")
            elif AVX.search(instruction["text"]):
                found[name].add("avx")
    return found


def isa_of(function):
    match = OF_ISA.search(function)
    return match["isa"] if match else None


def test_wide_registers_keep_to_their_instruction_set(needs):
    allowed = {"avx512": {"avx", "avx512"}, "avx2": {"avx"}}
    astray = {name: used for name, used in needs.items() if used - allowed.get(isa_of(name), set())}
    assert not astray


@pytest.mark.parametrize("isa", [isa for isa in _core.isas_built() if isa != "baseline"])
def test_the_kernels_do_use_them(needs, isa):
    used = [name for name, what in needs.items() if isa_of(name) == isa and {"avx2": "avx"}.get(isa, isa) in what]
    kernels = ["conv_07_vectors", "conv_08_tile"] if "ladder_find" in needs else ["gemm_tile_f32", "gemm_tile_f64"]
    assert all(any(kernel in name for name in used) for kernel in kernels)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_kernels_are_not_exported(module):
    """The linker of another library could pick them, or we its."""
    symbols = subprocess.run(["objdump", "-T", module.__file__], check=True, capture_output=True, text=True).stdout
    defined = [line.split()[-1] for line in symbols.splitlines() if " g " in line and "*UND*" not in line]
    assert f"PyInit_{module.__name__.rpartition('.')[2]}" in defined
    assert [name for name in defined if name.startswith(("fc_", "ladder_"))] == []
