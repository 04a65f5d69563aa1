"""Changes to s3prl and to ESPnet's tasks in the running process.

``python -m s3prl_upstream.launch`` and ``python -m s3prl_upstream.run_downstream`` apply them.
``Why`` says what fails without a patch, and ``Until`` when it can go. They do not add the name
``speechclip_plus`` to ``s3prl.hub``: :func:`s3prl_upstream.register` does.

Nothing on the disk is edited, and nothing is imported before the program imports it. Each patch is
a function that takes the imported module. A stand-in fills an empty module where none is installed.
"""

from __future__ import annotations

import argparse
import builtins
import functools
import importlib.util
import inspect
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

logger = logging.getLogger(__name__)

Patch = Callable[[ModuleType], None]


def patch_espnet() -> None:
    """Prepares the patches for ESPnet's own tasks; ``s3prl_upstream.launch`` calls it."""
    after_import("espnet2.train.preprocessor", crop_with_current_numpy)
    after_import("espnet2.fileio.rttm", read_rttm_as_it_is)
    after_import("espnet2.asr.frontend.s3prl", name_unknown_upstream)
    in_place_of("editdistance", count_edits_with_torchaudio)


def patch_runner(*, device: str | None) -> None:
    """Prepares the patches for s3prl's runner; call it before you import the runner.

    Args:
        device: Value of the runner's ``--device``.
    """
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the runner asks a GPU for its memory otherwise
        after_import("torch", stay_on_the_cpu)
    after_import("torch", load_checkpoints)
    after_import("huggingface_hub", bring_back_hub_login)
    if importlib.util.find_spec("torchcodec") is None:
        after_import("torchaudio", read_with_soundfile)
    after_import("s3prl.run_downstream", read_our_configurations)
    after_import("s3prl.downstream.runner", train_what_f_says)
    in_place_of("editdistance", count_edits_with_torchaudio)
    in_place_of("tensorboardX", write_with_tensorboard)
    in_place_of("torchaudio.sox_effects", apply_effects_without_sox)
    for name in ("catalyst", "catalyst.data", "s3prl.downstream.ctc.corpus"):
        in_place_of(name, lambda _: None)  # packages of the modules below
    for name in ("sox", "catalyst.data.sampler"):
        in_place_of(name, stand_in_for_unused)
    for name in ("libriphone", "snips"):
        in_place_of(f"s3prl.downstream.ctc.corpus.{name}", add_ctc_corpora)


def crop_with_current_numpy(preprocessor: ModuleType) -> None:
    """``espnet2.train.preprocessor.int`` accepts an array of one element.

    Why:
        spk and lid crop at ``int(startframe)`` of an array, which numpy 2.4 refuses.

    Until:
        ESPnet 202511 is no longer supported; 202611 has a number there.
    """

    def number(value: Any) -> int:
        return builtins.int(value.item() if hasattr(value, "item") else value)

    preprocessor.int = number


def read_rttm_as_it_is(rttm: ModuleType) -> None:
    """``espnet2.fileio.rttm.load_rttm_text`` runs without typeguard's check.

    Why:
        The annotated types of diar's labels differ from what the function returns.

    Until:
        ESPnet 202511 is no longer supported.
    """
    from typeguard import suppress_type_checks

    rttm.load_rttm_text = suppress_type_checks(rttm.load_rttm_text)


def name_unknown_upstream(front_end: ModuleType) -> None:
    """``S3prlFrontend`` says which upstream s3prl does not know, and suggests the nearest name.

    Why:
        It asserts that s3prl knows the name, without a message.

    Until:
        ESPnet says which name is unknown.
    """
    build = front_end.S3prlFrontend.__init__

    @functools.wraps(build)  # ESPnet reads its options from the signature
    def initialise(self: Any, *args: Any, **options: Any) -> None:
        try:
            build(self, *args, **options)
        except AssertionError:
            from s3prl.nn import S3PRLUpstream

            from espnet_plugin.utils.options import did_you_mean

            given = inspect.signature(build).bind(self, *args, **options).arguments
            name = given.get("frontend_conf", {}).get("upstream")
            known = S3PRLUpstream.available_names()
            if name in known:
                raise
            raise ValueError(
                f"frontend_conf: upstream {name!r} is not registered with s3prl"
                f"{did_you_mean(str(name), known)}; correct the name, or register it first, as "
                "s3prl_upstream.register() does with speechclip_plus"
            ) from None

    front_end.S3prlFrontend.__init__ = initialise


def count_edits_with_torchaudio(editdistance: ModuleType) -> None:
    """A stand-in for ``editdistance`` uses torchaudio's ``edit_distance``.

    Why:
        ESPnet, and s3prl's PR, ASR and SF, count errors with it; not every Python has a build.

    Until:
        editdistance has wheels for every Python that we support.
    """
    from torchaudio.functional import edit_distance

    editdistance.eval = edit_distance


def bring_back_hub_login(huggingface_hub: ModuleType) -> None:
    """``HfFolder``, ``Repository`` and ``HfApi.login`` can be imported from ``huggingface_hub``.

    A login does nothing, and nobody can make a ``Repository``.

    Why:
        s3prl's runner imports them; huggingface_hub 1.0 dropped them. A token comes from
        ``hf auth login``.

    Until:
        s3prl's runner works with huggingface_hub 1.0.
    """
    if not hasattr(huggingface_hub, "HfFolder"):
        huggingface_hub.HfFolder = _missing("huggingface_hub.HfFolder")
        huggingface_hub.HfFolder.save_token = staticmethod(lambda token: None)
    if not hasattr(huggingface_hub, "Repository"):
        huggingface_hub.Repository = _missing("huggingface_hub.Repository")
    if not hasattr(huggingface_hub.HfApi, "login"):
        huggingface_hub.HfApi.login = lambda self, **_: None


def read_with_soundfile(torchaudio: ModuleType) -> None:
    """``torchaudio.load`` reads with soundfile where torchcodec is missing.

    Why:
        torchaudio 2.9 reads with torchcodec only, which needs FFmpeg's libraries.

    Until:
        s3prl's tasks no longer read with torchaudio.
    """
    from s3prl_upstream.superb import audio

    torchaudio.load = audio.load


def apply_effects_without_sox(sox_effects: ModuleType) -> None:
    """A stand-in for ``torchaudio.sox_effects`` has the effects that s3prl's tasks use.

    Why:
        KS, ASV and QbE read their files with it; torchaudio 2.9 dropped it.

    Until:
        s3prl's tasks no longer use sox.
    """
    from s3prl_upstream.superb import audio

    sox_effects.apply_effects_file = audio.apply_effects_file
    sox_effects.apply_effects_tensor = audio.apply_effects_tensor


def write_with_tensorboard(tensorboard_x: ModuleType) -> None:
    """A stand-in for ``tensorboardX`` is torch's own writer.

    Why:
        s3prl's runner logs with tensorboardX; the extra ``s3prl`` installs tensorboard.

    Until:
        s3prl's runner logs with torch.
    """
    from torch.utils.tensorboard import SummaryWriter

    tensorboard_x.SummaryWriter = SummaryWriter


def stand_in_for_unused(module: ModuleType) -> None:
    """Stand-ins for ``sox`` and ``catalyst.data.sampler`` have classes that refuse to run.

    Why:
        ASV imports pysox but does not use it. KS uses catalyst in distributed training only, and
        catalyst is no longer maintained.

    Until:
        s3prl drops these imports.
    """
    for name in ("Transformer", "DistributedSamplerWrapper"):
        setattr(module, name, _missing(f"{module.__name__}.{name}"))


def add_ctc_corpora(module: ModuleType) -> None:
    """Stand-ins for modules of ``s3prl.downstream.ctc.corpus`` have our data sets.

    Why:
        s3prl's wheel lacks the folder, so PR and SF have no data sets.

    Until:
        The wheel includes it.
    """
    from s3prl_upstream.superb.ctc_corpora import LibriPhoneDataset, SnipsDataset

    module.LibriPhoneDataset, module.SnipsDataset = LibriPhoneDataset, SnipsDataset


def stay_on_the_cpu(torch: ModuleType) -> None:
    """``torch.Tensor.cuda`` returns the tensor itself, for ``--device cpu``.

    Why:
        ASV moves its masks with ``.cuda()`` on every machine.

    Until:
        s3prl's ASV moves them to ``--device``.
    """
    torch.Tensor.cuda = lambda self, *_, **__: self


def load_checkpoints(torch: ModuleType) -> None:
    """``torch.load`` accepts ``argparse.Namespace``.

    Why:
        s3prl's checkpoints hold their arguments; torch 2.6 loads tensors and plain values only.

    Until:
        s3prl stores its arguments as a dictionary.
    """
    torch.serialization.add_safe_globals([argparse.Namespace])


def keep_sid_lists(dataset: ModuleType, *, cache: Path) -> None:
    """``s3prl.downstream.voxceleb1.dataset`` caches its file lists in the experiment.

    Why:
        It caches them in the installed package, so a second corpus gets the lists of the first.

    Until:
        s3prl keeps them with the experiment.
    """
    dataset.CACHE_PATH = str(cache / "voxceleb1")


def keep_asv_lengths(dataset: ModuleType, *, cache: Path) -> None:
    """``s3prl.downstream.sv_voxceleb1.dataset`` caches lengths in the experiment, with threads.

    Why:
        It caches them beside its module, and starts 12 processes that import everything again.

    Until:
        s3prl keeps them with the experiment.
    """
    import joblib

    (cache / "sv_voxceleb1").mkdir(parents=True, exist_ok=True)
    dataset.__file__ = str(cache / "sv_voxceleb1" / "dataset.py")
    dataset.Parallel = lambda n_jobs: joblib.Parallel(
        n_jobs=min(n_jobs, os.cpu_count() or 1), prefer="threads"
    )


def read_our_configurations(run_downstream: ModuleType) -> None:
    """``s3prl.run_downstream.get_downstream_args`` resolves ``conf:…`` and checks the data's paths.

    Why:
        Our configurations name vocabularies of this package. A wrong path would end in a traceback
        that does not name the option.

    Until:
        Stays; s3prl has no place for it.
    """
    from espnet_plugin.utils.command import command_errors
    from s3prl_upstream.superb.conf import check_data, resolve_own_files

    get_arguments = run_downstream.get_downstream_args

    def get_downstream_args() -> Any:
        with command_errors("run_downstream"):
            args, config, files = get_arguments()
            config = resolve_own_files(config)
            check_data(args.downstream, config)  # as a past experiment's checkpoint has it
        cache = Path(args.expdir).absolute() / "cache"
        for task, keep in (("voxceleb1", keep_sid_lists), ("sv_voxceleb1", keep_asv_lengths)):
            after_import(f"s3prl.downstream.{task}.dataset", functools.partial(keep, cache=cache))
        return args, config, files

    run_downstream.get_downstream_args = get_downstream_args


def train_what_f_says(runner: ModuleType) -> None:
    """``s3prl.downstream.runner.Runner`` makes our upstream trainable for ``-f``.

    Why:
        Our upstream is frozen by default, and s3prl passes ``-f`` nowhere else.

    Until:
        Stays; s3prl's upstreams have no such option.
    """
    initialise = runner.Runner._init_model

    def _init_model(
        self: Any, model: Any, name: str, trainable: bool, interfaces: Any = None
    ) -> Any:
        if name == "Upstream" and trainable and hasattr(model, "set_trainable"):
            model.set_trainable(model.trainable or True)
        return initialise(self, model, name, trainable, interfaces)

    runner.Runner._init_model = _init_model


def after_import(name: str, patch: Patch) -> None:
    """Calls ``patch`` with the module ``name`` after its import; now, if it is imported."""
    if name in sys.modules:
        patch(sys.modules[name])
    else:
        sys.meta_path.insert(0, _Finder(name, patch))


def in_place_of(name: str, patch: Patch) -> None:
    """If no module ``name`` is installed, importing it gives an empty one, filled by ``patch``."""
    sys.meta_path.append(_StandIn(name, patch))


class _OneModule(MetaPathFinder):
    """A finder of one module, with what to do to it."""

    def __init__(self, name: str, patch: Patch) -> None:
        self.name = name
        self.patch = patch


class _Finder(_OneModule):
    """Finds one module where the other finders find it, and patches it after loading."""

    searching = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name or self.searching:
            return None
        self.searching = True  # the search below must not return here
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.searching = False
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_patch(module: ModuleType) -> None:
                # only now: who asks whether there is the module finds it without loading it
                sys.meta_path.remove(self)
                load(module)
                self.patch(module)

            spec.loader.exec_module = load_and_patch  # type: ignore[method-assign]
        return spec


class _StandIn(_OneModule, Loader):
    """The last finder, which makes what no other one found."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        logger.info(f"{self.name} is not installed; a stand-in replaces it")
        self.patch(module)


def _missing(name: str) -> type:
    """A class that reports its absence when it is used."""

    def refuse(self: Any, *_: Any, **__: Any) -> None:
        raise RuntimeError(f"{name} is not installed")

    return type(name.rsplit(".", 1)[-1], (), {"__init__": refuse})
