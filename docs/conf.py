"""Sphinx's configuration: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_ext")]

from espnet_plugin import __version__  # noqa: E402

project = "SpeechCLIP+"
author = "the authors of the SpeechCLIP+ plugin"
copyright = author
release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "mathml",
    "repository",
]
exclude_patterns = ["_build"]
# mini.ipynb runs where the recipe has left the model that it loads; elsewhere its code is shown.
# tests/docs/test_notebook.py runs the other one, which asks for files of the reader.
nb_execution_excludepatterns = ["*/search.ipynb"]
TRAINED = DOCS.parent / "egs2/speechclip_plus/exp/speechclip_mini_hybrid_plus_annealed/model"
nb_execution_mode = "cache" if TRAINED.exists() else "off"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_output_stderr = "remove"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autoclass_content = "class"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Shapes", "notes_style")]

html_theme = "furo"
html_title = f"SpeechCLIP+ {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
