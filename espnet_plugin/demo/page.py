"""The page itself: what can be asked, and where the answers go."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import gradio as gr

from espnet_plugin.data.speech_activity import NoSpeechError
from espnet_plugin.demo.backend import Backend, Heard
from espnet_plugin.demo.markup import HERE, render, timeline
from espnet_plugin.demo.media import Media
from espnet_plugin.demo.uploads import (
    TEXT_LENGTH,
    Limits,
    VisitorError,
    checked_text,
    read_sent_image,
    read_sent_recording,
)
from espnet_plugin.inference.utterance import read_utterance
from espnet_plugin.search.index import Hit

QUEUE = 64  # questions that wait
UPLOADS_KEPT = 3600  # seconds
WORDS = 12  # of those that the model knows
TITLE = "SpeechCLIP: find images and recordings by voice"
SOURCES = {"microphone": "sc-record", "upload": "sc-drop"}
# HTML: the recording or what is wrong, the images, one image
Answer = tuple[Any, Any, Any]
NOTHING_NEW: Answer = (gr.skip(),) * 3


def _answering(question: Callable[..., Answer]) -> Callable[..., Answer]:
    """Turns errors into a sentence on the page; details go to the log only."""

    @wraps(question)  # gradio looks at the arguments' names and types
    def answer(*args: Any) -> Answer:
        try:
            return question(*args)
        except VisitorError as error:
            sentence = str(error)
        except NoSpeechError:
            sentence = "There is no speech in this recording, only silence. Is the microphone on?"
        except Exception:
            logging.exception("a question could not be answered")
            sentence = "This could not be answered; the log of the page's command has the reason."
        return render("notice", sentence), "", ""

    return answer


class Questions:
    """What a visitor can ask; uploads come as gradio's file data, ``{"path": file}``.

    Args:
        backend: Answers.
        media: Serves the images of the answers.
        limits: Of recordings.
    """

    def __init__(self, backend: Backend, media: Media, limits: Limits) -> None:
        self.backend = backend
        self.media = media
        self.limits = limits

    def speak(self, recording: dict[str, Any] | None, *, player: str) -> Answer:
        """Keywords of a recording and the images nearest to it.

        Args:
            recording: What was sent; None when it was taken away.
            player: Id of the element that plays it.
        """
        if not recording:
            return NOTHING_NEW
        samples = read_sent_recording(recording["path"], limits=self.limits, rate=self.backend.rate)
        return self._heard(self.backend.hear(samples), player=player)

    def example(self, key: object) -> Answer:
        """Keywords of one of the captions and the images nearest to it."""
        captions = self.backend.captions
        if captions is None or key not in (str(each) for each, _ in captions.examples()):
            raise VisitorError("This example is no longer known; please load the page again.")
        position, rate = int(str(key)), self.backend.rate
        recording = captions.captions[position].recording
        heard = self.backend.hear(read_utterance(recording, sampling_rate=None, wanted_rate=rate))
        return self._heard(heard, player="sc-example", caption=position)

    def write(self, text: str | None) -> Answer:
        """The images nearest to a text."""
        text = checked_text(text)
        return "", self._gallery(self.backend.find_text(text), f"“{text}”"), ""

    def show(self, image: dict[str, Any] | None) -> Answer:
        """The images nearest to one that was sent."""
        if not image:
            return NOTHING_NEW
        sent = read_sent_image(image["path"])
        return "", self._gallery(self.backend.find_image(sent), "this image"), ""

    def open(self, key: object) -> Answer:
        """An image and the captions closest to it."""
        path = self._path(key)
        captions = self.backend.closest_captions(path)
        offered = self.backend.captions is not None
        detail = (self.media.offer(path), os.path.realpath(path), captions, offered)
        return gr.skip(), gr.skip(), render("detail", *detail)

    def similar(self, key: object) -> Answer:
        """The images nearest to one of the index."""
        hits = self.backend.find_image(self._path(key))
        return "", self._gallery(hits, "the chosen one"), ""

    def _heard(self, heard: Heard, *, player: str, caption: int | None = None) -> Answer:
        drawn = timeline(heard, player=player, caption=caption)
        return drawn, self._gallery(heard.hits, "what was said"), ""

    def _path(self, key: object) -> str:
        try:
            return self.media.path(key)
        except KeyError:
            raise VisitorError("This image is no longer known; please ask again.") from None

    def _gallery(self, hits: Sequence[Hit], asked: str) -> str:
        if self.backend.index is None:
            return ""
        if not hits:
            raise VisitorError("The index is empty.")
        images = [(self.media.offer(hit.path), hit.score) for hit in hits if hit.start is None]
        parts = [
            (self.media.offer(hit.path, hit.start, hit.end), hit)
            for hit in hits
            if hit.start is not None and hit.end is not None
        ]
        return render("gallery", images, parts, asked, self.backend.captions is not None)


def build_page(questions: Questions) -> gr.Blocks:
    """Lays the page out.

    Args:
        questions: What can be asked.
    """
    backend, words = questions.backend, questions.backend.known_words()
    counts = None if backend.index is None else backend.index.counts()
    limits = questions.limits
    head = render("head", counts, limits.seconds, limits.size_text, words[:WORDS], len(words))
    clickable: list[gr.HTML] = []
    with gr.Blocks(title=TITLE, delete_cache=(UPLOADS_KEPT, UPLOADS_KEPT)) as page:
        gr.HTML(head, js_on_load=None)
        with gr.Tabs():
            with gr.Tab("Speak"):
                with gr.Row():
                    recordings = [_recording(source, name) for source, name in SOURCES.items()]
                if backend.captions is not None:
                    shown = render("examples", backend.captions)
                    examples = gr.HTML(shown, js_on_load=_script("clicks.js"))
                    clickable.append(examples)
            if backend.index is not None:
                with gr.Tab("Write"), gr.Row(equal_height=True):
                    text = gr.Textbox(
                        placeholder="a red bicycle on the beach",
                        show_label=False,
                        max_length=TEXT_LENGTH,
                        scale=5,
                        elem_id="sc-text",
                    )
                    find = gr.Button("Find", variant="primary", scale=1, min_width=90)
                with gr.Tab("Image"):
                    image = gr.Image(
                        sources=["upload", "clipboard"],
                        type="filepath",
                        image_mode=None,
                        show_label=False,
                        height=220,
                        elem_id="sc-sent",
                    )
        heard = gr.HTML(js_on_load=_script("timeline.js"))
        gallery, detail = (gr.HTML(js_on_load=_script("clicks.js")) for _ in range(2))
        clickable += [gallery, detail]
        answers = [heard, gallery, detail]
        options: dict[str, Any] = {
            "preprocess": False,  # gradio checks that a file is an upload; we decode it
            "concurrency_id": "model",
            "concurrency_limit": 1,  # one question at a time
        }
        for recording, name in zip(recordings, SOURCES.values(), strict=True):
            speak = _answering(partial(questions.speak, player=name))
            recording.change(
                speak, recording, answers, api_name=name.removeprefix("sc-"), **options
            )
        if backend.index is not None:
            for trigger in (text.submit, find.click):
                trigger(_answering(questions.write), text, answers, api_name="write", **options)
            image.change(_answering(questions.show), image, answers, api_name="show", **options)

        def choose(event: gr.EventData) -> Any:
            """A click on an example, into the gallery or the detail below it."""
            asked = event._data if isinstance(event._data, dict) else {}
            question = {"similar": questions.similar, "example": questions.example}.get(
                str(asked.get("action")), questions.open
            )
            return question(asked.get("key"))

        for part in clickable:
            part.click(_answering(choose), None, answers, api_visibility="private", **options)
        page.queue(max_size=QUEUE, api_open=False)
    return page


def _recording(source: str, name: str) -> gr.Audio:
    return gr.Audio(
        sources=[source],
        type="filepath",
        show_label=False,
        elem_id=name,
        min_width=300,
        buttons=[],
        # the timeline below is the waveform
        waveform_options=gr.WaveformOptions(show_recording_waveform=False),
    )


def _script(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
