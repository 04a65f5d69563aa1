"""The demo page itself: what can be asked, and where the answers go."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple

import gradio as gr
import numpy as np

from espnet_plugin.apps.demo.backend import Backend, SpokenQuestion
from espnet_plugin.apps.demo.markup import HERE, render, timeline
from espnet_plugin.apps.demo.media import Recordings, file_name, pixels
from espnet_plugin.apps.demo.uploads import (
    TEXT_LENGTH,
    Limits,
    VisitorError,
    checked_text,
    read_sent_image,
    read_sent_recording,
)
from espnet_plugin.apps.search.index import Hit
from espnet_plugin.data.english import translation_note
from espnet_plugin.media.audio import read_mono
from espnet_plugin.media.speech_activity import NoSpeechError
from espnet_plugin.utils.errors import DataError

QUEUE = 64  # questions that wait
UPLOADS_KEPT = 3600  # seconds
WORDS = 12  # of the model's vocabulary
SAMPLE = 3  # words of the text that the demo page suggests
TITLE = "SpeechCLIP: find images and recordings by voice"
# Scripts of the browser. New images close what shows a chosen one; an upload taken away is null.
SHOW_ANSWER = """(asked) => {
  if (asked === null) return;
  document.querySelector("#sc-images .preview .top-panel button")?.click();
  document.querySelector("#sc-answer").scrollIntoView();
}"""
SHOW_IMAGES = "() => document.querySelector('#sc-images').scrollIntoView()"


class Answer(NamedTuple):
    """What goes to each output of the page, in their order; the defaults clear it.

    A dictionary holds properties of the component that change; an empty one leaves it as it is.
    """

    heard: Any = ""  # HTML: the recording with its keywords, or what is wrong
    images: Any = {"visible": False}
    detail: Any = ""  # HTML: the chosen image's captions
    similar: Any = {"visible": False}
    recordings: Any = ""  # HTML
    # on the server only: files of the images, and the chosen one
    paths: Any = ()
    chosen: Any = None


UNCHANGED = Answer(*({} for _ in Answer._fields))


def _answering(question: Callable[..., Answer]) -> Callable[..., tuple[Any, ...]]:
    """Turns errors into a sentence on the page; details go to the log only."""

    @wraps(question)  # gradio looks at the arguments' names and types
    def answer(*args: Any) -> tuple[Any, ...]:
        try:
            values = question(*args)
        except VisitorError as error:
            values = Answer(render("notice", str(error)))
        except NoSpeechError:
            sentence = "There is too little speech in this recording. Is the microphone on?"
            values = Answer(render("notice", sentence))
        except Exception:
            logging.exception("a question could not be answered")
            sentence = "This could not be answered; the log of the demo's command has the reason."
            values = Answer(render("notice", sentence))
        return tuple(gr.update(**each) if isinstance(each, dict) else each for each in values)

    return answer


class Questions:
    """What a visitor can ask; uploads come as gradio's file data, ``{"path": file}``.

    Args:
        backend: Backend that answers the questions.
        recordings: Player of the recordings in the answers.
        limits: Limits of the recordings that visitors send.
    """

    def __init__(self, backend: Backend, recordings: Recordings, limits: Limits) -> None:
        self.backend = backend
        self.recordings = recordings
        self.limits = limits

    def introduction(self) -> str:
        """Says what the page does, with which model, and some words of its vocabulary, as HTML."""
        index, words = self.backend.index, self.backend.known_words()
        counts = None if index is None else index.counts()
        limits = (self.limits.seconds, self.limits.size_text)
        note = translation_note(self.backend.model.spoken_languages)
        return render("head", counts, *limits, words[:WORDS], len(words), note)

    def speak(self, recording: dict[str, Any] | None, *, player: str) -> Answer:
        """Answers with the keywords of a recording and what is nearest to it.

        Args:
            recording: Recording that was sent, or None if it was taken away.
            player: Id of the element that plays it.
        """
        if not recording:
            return UNCHANGED
        samples = read_sent_recording(recording["path"], limits=self.limits, rate=self.backend.rate)
        return self._spoken(self.backend.hear(samples), player=player)

    def write(self, text: str | None) -> Answer:
        """Answers with what is nearest to a text."""
        text = checked_text(text)
        found = self._found(self.backend.find_text(text), f"“{text}”")
        known = self.backend.known_words()
        if known and not set(known) & set(re.findall(r"\w+", text.lower())):
            return found._replace(heard=render("unknown", known[:WORDS], len(known)))
        return found

    def sample_text(self) -> str:
        """A text to search for, of words of the model's vocabulary."""
        return " ".join(self.backend.known_words()[:SAMPLE]) or "an image"

    def show(self, image: dict[str, Any] | None) -> Answer:
        """Answers with what is nearest to an image that was sent."""
        if not image:
            return UNCHANGED
        sent = read_sent_image(image["path"])
        return self._found(self.backend.find_image(sent), file_name(image["path"]))

    def choose(self, paths: Sequence[str], event: gr.SelectData) -> Answer:
        """Answers with the captions closest to one of the images shown."""
        try:
            path = paths[event.index]
        except (IndexError, TypeError):
            raise VisitorError("This image is no longer known; please ask again.") from None
        real = os.path.realpath(path)
        captions = [
            (self.recordings.offer(caption.recording), caption, score, caption.image == real)
            for caption, score in self.backend.closest_captions(path)
        ]
        name = file_name(path)
        detail = render("detail", captions, name) if captions else ""
        similar = {"value": f"Find images like {name}", "visible": True}
        return UNCHANGED._replace(detail=detail, similar=similar, chosen=path)

    def similar(self, path: str | None) -> Answer:
        """Answers with what is nearest to the chosen image, except the image itself."""
        if not path:
            return UNCHANGED
        return self._found(self.backend.find_image(path, without=path), file_name(path))

    def examples(self) -> list[tuple[int, np.ndarray]]:
        """Rate and 16-bit samples of each spoken example, cut to what the page allows."""
        captions, rate = self.backend.captions, self.backend.rate
        recordings = [caption.recording for caption in captions.examples()] if captions else []
        read = (read_mono(path, rate, end=self.limits.seconds) for path in recordings)
        return [(rate, np.rint(32767 * np.clip(mono, -1, 1)).astype(np.int16)) for mono in read]

    def first(self, example: tuple[int, np.ndarray] | None) -> Answer:
        """What the page shows before anything is asked: an example's answer, or some images."""
        try:
            if example:
                asked = self.backend.hear(example[1] / np.float32(32768))
                return self._spoken(asked, player="sc-example")
            return self.write(self.sample_text()) if self.backend.index is not None else Answer()
        except (NoSpeechError, VisitorError):
            return Answer()

    def _spoken(self, asked: SpokenQuestion, *, player: str) -> Answer:
        found = self._found(asked.hits, "what was said")
        return found._replace(heard=timeline(asked, player=player))

    def _found(self, hits: Sequence[Hit], asked: str) -> Answer:
        if self.backend.index is None:
            return Answer()
        if not hits:
            raise VisitorError("The index is empty.")
        images, paths = [], []
        for hit in hits:
            if hit.start is None:
                try:
                    shown = pixels(hit.path)
                except DataError:  # gone since it was found
                    continue
                paths.append(hit.path)
                images.append((shown, f"{len(paths)} · {hit.score:.3f}"))
        label = f"Images closest to {asked}"
        gallery = {"value": images, "label": label, "selected_index": None, "visible": bool(images)}
        parts = [
            (self.recordings.offer(hit.path, hit.start, hit.end), file_name(hit.path), hit)
            for hit in hits
            if hit.start is not None and hit.end is not None
        ]
        return Answer(
            images=gallery,
            detail=render("hint", self.backend.captions is not None) if images else "",
            recordings=render("recordings", parts, asked) if parts else "",
            paths=paths,
        )


def build_page(questions: Questions) -> gr.Blocks:
    """Lays the page out.

    Args:
        questions: Questions that a visitor can ask.
    """
    backend = questions.backend
    examples = questions.examples()
    example = next(iter(examples), None)
    first = questions.first(example)
    with gr.Blocks(title=TITLE, delete_cache=(UPLOADS_KEPT, UPLOADS_KEPT)) as page:
        gr.HTML(questions.introduction(), js_on_load=None)
        with gr.Tabs():
            with gr.Tab("Speak"):
                with gr.Row():
                    record = _audio("sc-record", sources=["microphone"])
                    drop = _audio("sc-drop", sources=["upload"])
                played = _audio("sc-example", value=example, interactive=False, render=False)
                if backend.captions is not None:
                    captions = backend.captions.examples()
                    gr.Examples(
                        [[each] for each in examples],
                        inputs=[played],
                        example_labels=[each.text or each.utterance for each in captions],
                        label="Or click an example",
                        elem_id="sc-examples",
                    )
            if backend.index is not None:
                with gr.Tab("Write"):
                    text = gr.Textbox(
                        placeholder=questions.sample_text(),
                        show_label=False,
                        max_length=TEXT_LENGTH,
                        submit_btn="Find",
                        elem_id="sc-text",
                    )
                with gr.Tab("Image"):
                    image = gr.Image(
                        sources=["upload", "clipboard"],
                        type="filepath",
                        image_mode=None,
                        show_label=False,
                        height=220,
                        elem_id="sc-sent",
                    )
        with gr.Row(elem_id="sc-answer", equal_height=False):
            with gr.Column(min_width=420):
                played.render()
                heard = gr.HTML(first.heard, js_on_load=(HERE / "timeline.js").read_text("utf-8"))
            with gr.Column(min_width=420):
                images = gr.Gallery(
                    **first.images,
                    format="jpeg",
                    columns=6,
                    object_fit="cover",
                    interactive=False,
                    buttons=[],
                    elem_id="sc-images",
                )
                similar = gr.Button(**first.similar, size="sm", elem_id="sc-similar")
                detail = gr.HTML(first.detail)
        recordings = gr.HTML(first.recordings)
        paths, chosen = gr.State(first.paths), gr.State(None)
        answers = [heard, images, detail, similar, recordings, paths, chosen]

        def ask(trigger: Any, question: Callable[..., Answer], source: Any, **options: Any) -> None:
            answered = trigger(
                _answering(question),
                source,
                answers,
                concurrency_id="model",
                concurrency_limit=1,  # one question at a time
                **options,
            )
            if source is not paths:  # a chosen image opens where it is
                answered.then(None, None if source is chosen else source, None, js=SHOW_ANSWER)

        # gradio checks that a file is an upload; we decode it
        sent: dict[str, Any] = {"preprocess": False}
        for audio in (record, drop, played):
            speak = partial(questions.speak, player=audio.elem_id)
            ask(audio.change, speak, audio, api_name=audio.elem_id.removeprefix("sc-"), **sent)
        if backend.index is not None:
            ask(text.submit, questions.write, text, api_name="write", **sent)
            ask(image.change, questions.show, image, api_name="show", **sent)
        ask(images.select, questions.choose, paths, api_visibility="private")
        ask(similar.click, questions.similar, chosen, api_visibility="private")
        images.preview_open(None, js=SHOW_IMAGES)
        page.queue(max_size=QUEUE, api_open=False)
    return page


def _audio(name: str, **options: Any) -> gr.Audio:
    return gr.Audio(
        **options,
        type="filepath",
        show_label=False,
        elem_id=name,
        min_width=300,
        buttons=[],
        # the timeline is the waveform
        waveform_options=gr.WaveformOptions(show_recording_waveform=False),
    )
