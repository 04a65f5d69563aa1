"""Python imports this at its start when the directory is on PYTHONPATH, see docs/espnet.md.

``s3prl_upstream.launch`` puts it there, and so does a recipe with this line in its path.sh::

    site=$(python3 -c "import s3prl_upstream; print(s3prl_upstream.SITE_DIRECTORY)")
    export PYTHONPATH=${site}:${PYTHONPATH}

It prepares the patches, and then runs the system's own sitecustomize, which it hides.
"""

import importlib.machinery
import importlib.util
import os
import sys


def _install_hook():
    try:
        from s3prl_upstream import register
        from s3prl_upstream.patches import after_import, patch_espnet
    except Exception:  # another Python, without the package
        return
    after_import("s3prl.hub", register)
    patch_espnet()


def _run_next_sitecustomize():
    here = os.path.dirname(os.path.abspath(__file__))
    others = [path for path in sys.path if os.path.abspath(path) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        try:
            spec.loader.exec_module(module)
        except ImportError as error:  # as site.py does: another one may raise it
            if error.name != "sitecustomize":
                raise


_install_hook()
_run_next_sitecustomize()
