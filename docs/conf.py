"""Sphinx's configuration: MyST pages, the API reference from docstrings, the tour as a notebook that the build runs."""

import shutil
from pathlib import Path

import fastconv

_DOCS = Path(__file__).parent
# Sphinx reads nothing outside its folder; the copy is not in git.
shutil.copy(_DOCS.parent / "examples" / "tour.ipynb", _DOCS)

project = "fastconv"
version = release = fastconv.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

html_theme = "furo"
html_title = f"fastconv {release}"
html_show_copyright = False

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300

# Single backticks in docstrings are links; one that leads nowhere is a warning, and CI makes that an error.
default_role = "any"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_mock_imports = ["autograd", "dezero", "mygrad", "onnx"]
napoleon_google_docstring = False
napoleon_use_ivar = True
copybutton_prompt_text = ">>> |\\.\\.\\. |\\$ "
copybutton_prompt_is_regexp = True
