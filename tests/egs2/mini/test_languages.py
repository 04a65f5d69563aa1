from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from local.mini.config import MINI_CORPORA
from local.mini.corpus import draw_corpus, split_voices, write_lists
from local.mini.languages import english_of, in_language, say_in, tell
from local.mini.scenes import Scene, Thing, draw_caption, draw_splits
from local.mini.teacher import SceneSampler
from local.mini.world import read_world

from espnet_plugin.data.english import is_stop_word
from espnet_plugin.data.scp import read_scp
from espnet_plugin.data.words import SpokenWord
from espnet_plugin.evaluation.alignments import read_ctm

_RECIPE = Path(__file__).resolve().parents[3] / "egs2" / "speechclip_plus"
BABEL = read_world("babel")
MINI = read_world("default")


@pytest.fixture
def babel_config(tiny_config):
    return dataclasses.replace(tiny_config, world=BABEL)


def _said(language: str, *things: Thing, place: str = "night", layout: str = "left_right") -> set:
    spoken = BABEL.languages[language]
    world = dataclasses.replace(in_language(BABEL, spoken), attributes_said=1.0, place_said=0.0)
    scene = say_in(spoken, Scene(place, layout, things))
    rng = np.random.default_rng(0)
    return {draw_caption(rng, world, scene) for _ in range(300)}


@pytest.mark.parametrize(
    ("language", "things", "said"),
    [
        ("es", [Thing("red", "snake")], "la serpiente es roja"),
        ("es", [Thing("red", "bus")], "el autobús es rojo"),
        ("es", [Thing("purple", "moon")], "solo una luna morada"),
        ("es", [Thing("blue", "umbrella")], "hay un paraguas azul"),
        (
            "es",
            [Thing("yellow", "chair"), Thing("red", "fish")],
            "una silla amarilla cerca de un pez rojo",
        ),
        ("sw", [Thing("red", "tree")], "mti ni mwekundu"),  # m-/mi-
        ("sw", [Thing("red", "balloon")], "puto ni jekundu"),  # ji-/ma-
        ("sw", [Thing("red", "chair")], "kiti ni chekundu"),  # ki-/vi-
        ("sw", [Thing("red", "banana")], "ndizi ni nyekundu"),  # n-/n-
        ("sw", [Thing("red", "mushroom")], "uyoga ni mwekundu"),  # u-
        ("sw", [Thing("red", "fish")], "samaki ni mwekundu"),  # n-/n-, but alive
        ("sw", [Thing("blue", "chair")], "kuna kiti cha bluu"),
        ("sw", [Thing("yellow", "crown")], "taji la njano tu"),
        ("sw", [Thing("green", "dog"), Thing("purple", "house")],
         "mbwa wa kijani karibu na nyumba ya zambarau"),
    ],
)  # fmt: skip
def test_colours_agree_with_their_nouns(language, things, said):
    assert said in _said(language, *things)


def test_places_and_relations_are_translated():
    things = [Thing("red", "dog"), Thing("blue", "star")]
    above = _said("es", *things, layout="above_below")
    assert {"un perro rojo sobre una estrella azul", "una estrella azul bajo un perro rojo"} < above
    above = _said("sw", *things, layout="above_below")
    assert {"mbwa mwekundu juu ya nyota ya bluu", "nyota ya bluu chini ya mbwa mwekundu"} < above


@pytest.mark.parametrize("language", list(BABEL.languages))
def test_every_word_of_the_world_is_translated_once(language):
    spoken = BABEL.languages[language]
    nouns = Counter(name for kind in spoken.nouns.values() for name in kind)
    assert nouns == Counter(list(MINI.objects)) and set(spoken.colours) == set(MINI.colours)
    assert set(spoken.nouns) == set(spoken.words)
    names = [noun for kind in spoken.nouns.values() for noun in kind.values()]
    assert len(set(names)) == len(names)
    assert len(spoken.one_thing) == len(MINI.one_thing)
    assert len(spoken.two_things) == len(MINI.two_things)
    for place, phrases in MINI.place_phrases.items():
        assert len(set(spoken.place_phrases[place])) == len(phrases)
    for layout, ways in MINI.relations.items():
        assert list(map(len, spoken.relations[layout])) == list(map(len, ways))


def test_the_english_beside_a_caption_means_the_same():
    """Colours, and who comes first, are read back from both."""
    rng, streams = np.random.default_rng(1), {k: np.random.default_rng(2) for k in BABEL.languages}
    scene = Scene("beach", "above_below", (Thing("red", "dog"), Thing("yellow", "house")))
    pairs = {
        "es": [("perro", "dog"), ("casa", "house"), ("roj", "red"), ("amarill", "yellow"),
               ("playa", "beach"), ("hay", "there is"), ("solo", "single")],
        "sw": [("mbwa", "dog"), ("nyumba", "house"), ("mwekundu", "red"), ("njano", "yellow"),
               ("kuna", "there is"), ("pamoja", "with"), ("chini", "below")],
    }  # fmt: skip
    seen = Counter()
    for _ in range(40):
        for told in tell(rng, streams, BABEL, scene):
            seen[told.language] += 1
            if told.language == "en":
                assert told.text == told.english
                continue
            for word, english in pairs[told.language]:
                means = english in told.english.replace("under", "below")
                assert (word in told.text) == means, told
            nouns = [(w in told.text, told.text.find(w)) for w, _ in pairs[told.language][:2]]
            english = [told.english.find(w) for w in ("dog", "house")]
            assert (nouns[0][1] < nouns[1][1]) == (english[0] < english[1])
    assert seen == {"en": 80, "es": 80, "sw": 80}


def test_the_meanings_of_a_caption_are_the_content_words_of_its_english():
    rng, streams = np.random.default_rng(1), {k: np.random.default_rng(2) for k in BABEL.languages}
    scenes = draw_splits(
        np.random.default_rng(3), MINI, {"train": 40, "dev": 1, "test": 1}, two_objects=0.8
    )
    for scene in scenes["train"]:
        for told in tell(rng, streams, BABEL, scene):
            if told.language == "en":
                continue
            lexicon = english_of(BABEL.languages[told.language])
            meant = [lexicon[word] for word in told.text.split() if word in lexicon]
            said = [word for word in told.english.split() if not is_stop_word(word)]
            assert Counter(meant) == Counter(said), told


def test_scenes_english_captions_and_teacher_are_mini_s(tiny_config, babel_config):
    scenes, captions = draw_corpus(babel_config)
    mini_scenes, mini = draw_corpus(tiny_config)
    assert scenes == mini_scenes
    for split, members in captions.items():
        english = {c.utterance_id.replace("_en", ""): c.text for c in members if c.language == "en"}
        kept = {c.utterance_id: c.text for c in mini[split] if int(c.utterance_id[-1]) < 2}
        assert english == kept
        swahili = {c.utterance_id.replace("_sw", ""): c for c in members if c.language == "sw"}
        assert [c.english for c in swahili.values()] != list(english.values())  # drawn for itself
    assert MINI_CORPORA["babel"].teacher == MINI_CORPORA["default"].teacher
    assert BABEL.words == MINI.words
    ours, minis = SceneSampler(babel_config).draw(), SceneSampler(tiny_config).draw()
    for name, value in vars(minis).items():
        own = getattr(ours, name)
        assert own == value if isinstance(value, list) else own.equal(value), name


def test_voices_speak_their_language_and_half_of_the_test_set_is_unseen(babel_config):
    _, captions = draw_corpus(babel_config)
    seen = {voice.partition("+")[2] for voice in split_voices(babel_config)[0]}
    for caption in captions["train"]:
        language, variant = caption.voice.split("+")
        assert language.partition("-")[0] == caption.language and variant in seen
    unseen = [c.voice.partition("+")[2] not in seen for c in captions["test"]]
    assert sum(unseen) == len(unseen) // 2


def test_sets_say_their_language_and_have_english_text(babel_config, tmp_path):
    scenes, captions = draw_corpus(babel_config)
    words = {
        c.utterance_id: [(word, n, n + 1) for n, word in enumerate(c.text.split())]
        for members in captions.values()
        for c in members
    }
    write_lists(
        babel_config, scenes, captions, words,
        root=tmp_path / "mini", data_dir=tmp_path / "data", name="mini_babel",
    )  # fmt: skip
    languages = read_scp(tmp_path / "data/mini_babel_train/utt2lang")
    assert Counter(languages.values()) == {"en": 8, "es": 8, "sw": 8}
    assert languages["train_00000_sw_1"] == "sw"
    text = read_scp(tmp_path / "data/mini_babel_train/text")
    english = {c.utterance_id: c.english for c in captions["train"]}
    assert text == english and set(" ".join(text.values()).split()) <= set(MINI.words)
    swahili = tmp_path / "data/mini_babel_train_sw"
    assert list(read_scp(swahili / "wav.scp")) == [u for u, v in languages.items() if v == "sw"]
    spoken, meant = read_ctm(swahili / "words.ctm"), read_ctm(swahili / "meanings.ctm")
    assert meant.keys() == spoken.keys() == read_scp(swahili / "wav.scp").keys()
    thing = scenes["train"]["train_00000"].things[0]  # the first caption names everything
    noun = say_in(BABEL.languages["sw"], scenes["train"]["train_00000"]).things[0].name
    (place,) = (w for w in spoken["train_00000_sw_0"] if w.word == noun)
    assert SpokenWord(thing.name, None, *place.span) in meant["train_00000_sw_0"]
    english = read_ctm(tmp_path / "data/mini_babel_train_en/meanings.ctm")
    assert english == read_ctm(tmp_path / "data/mini_babel_train_en/words.ctm")
    table = (tmp_path / "mini/captions.tsv").read_text(encoding="utf-8").splitlines()
    assert table[0].split("\t") == ["utterance", "image", "voice", "caption", "language", "english"]
    row = next(caption for caption in captions["train"] if caption.language == "es")
    cells = row.utterance_id, row.image_id, row.voice, row.text, "es", row.english
    assert "\t".join(cells) in table


@pytest.mark.parametrize("text", ["una araña roja bajo un pingüino", "mwavuli wa kijani usiku"])
def test_words_with_accents_have_their_places(text):
    pytest.importorskip("espeakng_loader")
    voice = "es+m1" if "araña" in text else "sw+m1"
    code = (
        "from local.shared.speech_synthesis import VoicedCaption, Synthesiser\n"
        f"caption = VoicedCaption('u', 'i', {text!r}, {voice!r}, 170, 50, 50)\n"
        "print(*(f'{word} {at}' for word, at, _ in Synthesiser().speak(caption)[1]), sep='\\n')"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_RECIPE,
        env={**os.environ, "PYTHONPATH": str(_RECIPE.parents[1])},
    )  # fmt: skip
    words, starts = zip(*(line.split() for line in shown.stdout.splitlines()), strict=True)
    assert list(words) == text.split()
    assert len(set(starts)) >= len(words) - 1  # a function word may share its neighbour's start
