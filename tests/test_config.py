"""Environment variables, in processes of their own, and what show_config says."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from machine import ISAS

import fastconv
from fastconv import _core


def python(*arguments, **environment):
    """Run Python with these variables and no other setting of ours."""
    ours = ("FASTCONV_ISA", "FASTCONV_NUM_THREADS", "OMP_NUM_THREADS")
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run(
        [sys.executable, *arguments], env=clean | environment, capture_output=True, text=True, timeout=120
    )


def evaluate(expression, **environment):
    done = python("-c", f"import fastconv; print({expression})", **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_widest_instruction_set_is_taken():
    assert evaluate("fastconv.show_config('dicts')['isa']") == ISAS[-1]


@pytest.mark.parametrize("name", ISAS)
def test_fastconv_isa_caps(name):
    assert evaluate("fastconv.show_config('dicts')['isa']", FASTCONV_ISA=name) == name
    value = "fastconv.conv2d([[[[1.0, 2.0]]]], [[[[3.0]]]]).ravel().tolist()"
    assert evaluate(value, FASTCONV_ISA=name) == "[3.0, 6.0]"


@pytest.mark.parametrize("name", ["avx9", "AVX2 ", "1"])
def test_an_unknown_fastconv_isa_is_an_error(name):
    done = python("-c", "import fastconv; fastconv.conv2d([[[[1.0]]]], [[[[1.0]]]])", FASTCONV_ISA=name)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError")
    for part in ("FASTCONV_ISA", name.strip(), *_core.isas_built()):
        assert part in last


def test_an_empty_variable_is_none():
    assert evaluate("fastconv.show_config('dicts')['isa']", FASTCONV_ISA="") == ISAS[-1]
    assert int(evaluate("fastconv.get_num_threads()", FASTCONV_NUM_THREADS="")) >= 1


@pytest.mark.skipif(not _core.openmp(), reason="a serial build has one thread")
def test_thread_variables():
    assert evaluate("fastconv.get_num_threads()", FASTCONV_NUM_THREADS="3") == "3"
    assert evaluate("fastconv.get_num_threads()", OMP_NUM_THREADS="5") == "5"
    assert evaluate("fastconv.get_num_threads()", FASTCONV_NUM_THREADS="3", OMP_NUM_THREADS="5") == "3"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_threads_keep_to_the_affinity_of_the_process():
    cpu = min(os.sched_getaffinity(0))
    done = python(
        "-c", f"import os; os.sched_setaffinity(0, {{{cpu}}}); import fastconv; print(fastconv.get_num_threads())"
    )
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize("value", ["0", "-2", "many", "1.5", "99999999"])
def test_a_bad_thread_count_is_an_error(value):
    done = python("-c", "import fastconv", FASTCONV_NUM_THREADS=value)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError")
    assert "FASTCONV_NUM_THREADS" in last
    assert value in last


def test_show_config_as_data():
    config = fastconv.show_config("dicts")
    assert config["fastconv"] == fastconv.__version__
    assert config["numpy"] == np.__version__
    assert config["isa"] in config["isas supported"]
    assert set(config["isas supported"]) <= set(config["isas built"])
    assert config["threads"] == fastconv.get_num_threads()
    assert isinstance(config["openmp"], bool)
    assert config["compiler"]


def test_show_config_as_text(capsys):
    assert fastconv.show_config() is None
    shown = capsys.readouterr().out
    for fact in fastconv.show_config("dicts").values():
        for part in fact if isinstance(fact, list) else [fact]:
            assert str(part) in shown


def test_show_config_of_another_mode():
    with pytest.raises(ValueError, match="json"):
        fastconv.show_config("json")


def test_python_m_fastconv():
    done = python("-m", "fastconv", FASTCONV_ISA=ISAS[0], FASTCONV_NUM_THREADS="3")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for part in (fastconv.__version__, _core.compiler(), *_core.isas_built()):
        assert part in done.stdout
    assert python("-m", "fastconv", "info", FASTCONV_ISA=ISAS[0], FASTCONV_NUM_THREADS="3").stdout == done.stdout
    assert python("-m", "fastconv", "nonsense").returncode == 2
