"""Build of the compiled core: one portable source per kernel, compiled once for each instruction set.

setuptools has one list of flags an extension, so the C sources are compiled here, file by file, and handed to the
link as objects. Environment: ``FASTCONV_WERROR=1`` turns warnings into errors, ``FASTCONV_OPENMP=0`` builds serially,
``FASTCONV_SANITIZE=address,undefined`` (or ``thread``, ``coverage``) builds for ``tests/instrumented.py``.
"""

import os
import platform
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

SRC = Path("src")
LADDER = SRC / "ladder"
LADDER_BY_ISA = ["conv_07_vectors.c", "conv_08_tile.c", "width.c"]
HEADERS = sorted(str(path) for path in SRC.rglob("*.h"))
FLAGS = ["-std=gnu11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fvisibility=hidden", "-Wall", "-Wextra"]
# -O1 keeps the stack traces readable, and halves the time of the build.
INSTRUMENTED = ["-O1", "-g1", "-fno-omit-frame-pointer"]
X86 = platform.machine().lower() in {"x86_64", "amd64"}
ARM = platform.machine().lower() in {"aarch64", "arm64"}
AVX2 = ["-mavx2", "-mfma"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw", "-mprefer-vector-width=512"]

# name of the instruction set: (flags, macro that tells dispatch.c of it)
ISAS = {"neon": ([], "FC_HAVE_NEON")} if ARM else {"baseline": ([], "FC_HAVE_BASELINE")}
if X86:
    ISAS |= {"avx2": (AVX2, "FC_HAVE_AVX2"), "avx512": (AVX512, "FC_HAVE_AVX512")}


def instrumentation(what: str) -> list[str]:
    """Return the flags that compile and link what ``FASTCONV_SANITIZE`` asks for."""
    if not what:
        return []
    # gcc makes counters the induction variables of loops, which threads would change for each other.
    counting = ["--coverage", "-fprofile-update=atomic"]
    # A check at every access of all instances of a kernel would take the compiler minutes: it has one.
    checking = [f"-fsanitize={what}", "-fno-sanitize-recover=all", "-DFC_INSTRUMENTED=1"]
    kind = counting if what == "coverage" else checking
    return [*INSTRUMENTED, *kind]


SANITIZE = instrumentation(os.environ.get("FASTCONV_SANITIZE", ""))
OPENMP_PROBE = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"


class BuildCore(build_ext):
    """Compiles every C source with its own flags, in parallel, and links them with the binding."""

    def run(self) -> None:
        """Build, and leave the module in the checkout too: there ``python -m fastconv`` finds the sources first.

        Always anew: neither compiler nor flags show in the time of a file. An instrumented module, which needs its
        run-time library before it loads, does not take the place of the plain one.
        """
        self.force = True
        super().run()
        if not self.inplace and not SANITIZE:
            self.copy_extensions_to_source()

    def builds(self, source: str, flags: list[str], *, link: bool = False) -> bool:
        """Whether the compiler takes a source with these flags."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "probe.c")
            path.write_text(source)
            try:
                objects = self.compiler.compile([str(path)], output_dir=folder, extra_postargs=flags)
                if link:
                    self.compiler.link_executable(objects, str(Path(folder, "probe")), extra_postargs=flags)
            except (CompileError, LinkError):
                return False
        return True

    def build_extension(self, ext: Extension) -> None:
        """Compile the C sources beside the extension's own, then link."""
        common = [*FLAGS, *(["-Werror"] if os.environ.get("FASTCONV_WERROR") == "1" else []), *SANITIZE]
        wants_openmp = os.environ.get("FASTCONV_OPENMP", "1") != "0"
        openmp = ["-fopenmp"] if wants_openmp and self.builds(OPENMP_PROBE, ["-fopenmp"], link=True) else []
        isas = {name: isa for name, isa in ISAS.items() if self.builds("int main(void) { return 0; }\n", isa[0])}
        macros = [(macro, "1") for _, macro in isas.values()]

        if ext.name == "fastconv._ladder":
            jobs = [(path, "", common) for path in sorted(LADDER.glob("*.c")) if path.name not in LADDER_BY_ISA]
            jobs += [
                (LADDER / path, name, [*common, *flags, f"-DLADDER_ISA={name}"])
                for path in LADDER_BY_ISA
                for name, (flags, _) in isas.items()
            ]
        else:
            jobs = [(SRC / "kernels" / f"isa_{name}.c", "", common + isas[name][0]) for name in reversed(isas)]
            jobs += [(path, "", common + openmp) for path in sorted(SRC.glob("*.c"))]

        def compile_one(job: tuple[Path, str, list[str]]) -> list[str]:
            path, folder, flags = job  # an object lies where its source says: one folder for each instruction set
            return self.compiler.compile(
                [str(path)],
                output_dir=str(Path(self.build_temp, folder)),
                macros=macros,
                include_dirs=[str(SRC)],
                extra_postargs=flags,
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ext.extra_objects = [path for objects in pool.map(compile_one, jobs) for path in objects]
        ext.extra_link_args = [*openmp, *SANITIZE]
        super().build_extension(ext)


NUMPY_API = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"), ("NPY_TARGET_VERSION", "NPY_1_23_API_VERSION")]
EXTENSIONS = [
    Extension(
        "fastconv._core",
        [str(SRC / "core.pyx")],
        include_dirs=[str(SRC), numpy.get_include()],
        define_macros=NUMPY_API,
        depends=[*HEADERS, *sorted(str(path) for path in SRC.rglob("*.c") if path.name != "core.c")],
    ),
    Extension("fastconv._ladder", [str(LADDER / "ladder.pyx")], include_dirs=[str(LADDER)]),
]

setup(ext_modules=cythonize(EXTENSIONS, build_dir="build"), cmdclass={"build_ext": BuildCore})
