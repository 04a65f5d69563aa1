"""Sound and images: reading and checking them in every form that people have. No model.

An utterance, which :func:`~espnet_plugin.media.utterance.read_utterance` reads, is one of these:

- the path of a recording of any rate, with any number of channels: WAV, FLAC, Ogg, MP3, M4A, ...
- the content of such a file, as bytes
- samples as an array or a tensor, (samples,) or (samples, channels): floating point in [-1, 1], or
  integers as recordings have them; their rate is given beside them
- what datasets have: a dictionary with ``array`` and ``sampling_rate``, or torchcodec's decoder

Channels are averaged, and other rates are resampled.

An image, which :func:`~espnet_plugin.media.images.read_image` reads, is one of these:

- the path of a file: JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000, PPM, HEIC
- an open PIL image
- pixels as an array, such as (height, width, 3) with 8 bits unsigned

It becomes RGB with 8 bits, as people see it.
"""
