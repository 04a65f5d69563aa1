"""Using a trained model: embeddings and keywords of a recording, of an image, of a set.

1. ``pretrained.names.resolve_model`` finds the model's folder by its name.
2. ``pretrained.storage.load_speechclip`` checks the model and builds it of its configuration.
3. ``speechclip.SpeechCLIP`` embeds lists of recordings, images and texts. ``results`` finds the
   keywords of a recording, which ``data.words`` joins to words.

In the recipe, ``infer_set`` embeds a set. ``data.set_outputs`` writes the results, which
``data.inference_set`` reads for ``evaluation``.
"""
