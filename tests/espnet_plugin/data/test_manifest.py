"""A result is used while it is what its source gives now, and at no other time."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_plugin.data.array_store import ArrayStore
from espnet_plugin.data.manifest import Manifest, Note
from espnet_plugin.data.record import Record, make_record
from espnet_plugin.data.scp import read_scp
from espnet_plugin.utils.hashing import stamp

KEYS = ("a", "b", "c")
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(KEYS), st.integers(0, 9)),
        st.tuples(st.just("swap"), st.sampled_from(KEYS), st.sampled_from(KEYS)),
        st.tuples(st.just("rename"), st.sampled_from(KEYS), st.sampled_from(KEYS)),
        st.tuples(st.just("remove"), st.sampled_from(KEYS), st.none()),
        st.tuples(st.just("model"), st.integers(0, 1), st.none()),
        st.tuples(st.just("run"), st.sampled_from("12"), st.just(99)),
        # killed after so many steps; each array has two: written, noted
        st.tuples(st.just("run"), st.sampled_from("12"), st.integers(0, 5)),
    ),
    max_size=12,
)


def maker(model: int) -> Record:
    return make_record("image embeddings", {"model": model})


class Killed(BaseException):
    """Like SIGKILL: nothing may tidy up after it."""


class World:
    """Files that change, and a store of what a model makes of them."""

    def __init__(self, root: Path) -> None:
        self.root, self.model, self.clock = root, 0, 1
        self.files: dict[str, str] = {}
        for value, key in enumerate(KEYS):
            self.files[key] = str(root / key)
            self.write(key, value)

    def write(self, key: str, value: int) -> None:
        path = Path(self.files[key])
        path.write_text(str(value))  # all of one size: the time has to tell them apart
        self.clock += 1
        os.utime(path, ns=(self.clock, self.clock))

    def expected(self, key: str) -> float:
        return 100.0 * self.model + int(Path(self.files[key]).read_text())

    def store(self, job: str) -> ArrayStore:
        return ArrayStore(self.root / "out", self.files, maker=maker(self.model), job=job)

    def run(self, job: str, steps: int) -> None:
        store = self.store(job)
        add = store._manifest.add

        def counted(*arguments, **options) -> None:
            nonlocal steps
            steps -= 1
            if steps < 0:
                raise Killed
            add(*arguments, **options)
            steps -= 1
            if steps < 0:
                raise Killed

        store._manifest.add = counted
        for key in store.missing(self.files):
            store.save({key: np.array([self.expected(key)])})

    def apply(self, name: str, first, second) -> None:
        if name == "write":
            self.write(first, second)
        elif name == "swap":  # in the list
            self.files[first], self.files[second] = self.files[second], self.files[first]
        elif name == "rename":  # on the disk
            one, other, aside = Path(self.files[first]), Path(self.files[second]), self.root / "x"
            one.rename(aside)
            if other.exists():
                other.rename(one)
            aside.rename(other)
        elif name == "remove":
            (self.root / "out" / f"{first}.npy").unlink(missing_ok=True)
        elif name == "model":
            self.model = first
        else:
            try:
                self.run(first, second)
            except Killed:
                pass


@settings(max_examples=80, deadline=None)
@given(operations=OPERATIONS)
def test_what_is_listed_is_what_the_files_give_now(operations) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        for operation in operations:
            world.apply(*operation)
            store = world.store("3")
            for key in set(KEYS) - set(store.missing(KEYS)):
                assert np.load(store.path(key))[0] == world.expected(key), operations
        world.run("1", 99)
        store = world.store("1")
        assert store.missing(KEYS) == []
        store.write_list(world.root / "a.scp", KEYS, {}, what="files")
        for key, path in read_scp(world.root / "a.scp").items():
            assert np.load(path)[0] == world.expected(key)


def test_half_a_line_is_no_note(tmp_path: Path) -> None:
    for name in ("source", "result"):
        (tmp_path / name).write_text(name)
    source, result = str(tmp_path / "source"), str(tmp_path / "result")
    with Manifest(tmp_path, maker=maker(0)) as manifest:
        manifest.add("a", source, stamp(source), result=result, facts=[1])
    line = manifest.path.read_text()
    for end in range(len(line) - 1):
        manifest.path.write_text(line[:end])
        assert manifest.current({"a": source}) == {}
    with manifest:
        manifest.add("b", source, stamp(source), result=None, facts="why")
    sources = {"a": source, "b": source}
    assert manifest.current(sources) == {"b": Note(None, "why")}


def test_the_newest_result_counts_whichever_job_made_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("a")
    for number, job in enumerate(("2", "1")):  # by name, the older note comes last
        result = tmp_path / f"result.{job}"
        result.write_text("b")
        os.utime(result, ns=(0, 10**9 * (number + 1)))
        with Manifest(tmp_path, maker=maker(0), job=job) as manifest:
            manifest.add("a", str(source), stamp(str(source)), result=str(result))
    assert manifest.current({"a": str(source)})["a"].result == str(tmp_path / "result.1")
