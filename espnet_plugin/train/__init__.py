"""What ESPnet's training loop needs around the model: loss, trainer, sampler, preprocessor.

A recording on its way through training is

1. drawn into a batch that holds no image twice (``unique_image_sampler``),
2. read, with errors that name the file (``espnet_plugin.data.dataset``),
3. checked, normalised and cropped, (samples,) (``preprocessor``),
4. padded to a ``SpeechBatch``, (batch, samples) (``collate``),
5. turned into hidden states, (batch, layers + 1, frames, dim), or stored ones are read
   (``espnet_plugin.teachers.speech_encoder``),
6. embedded by each branch, (batch, embedding_dim) (``espnet_plugin.model.model``),
7. compared with images: the loss (``espnet_model``, ``espnet_plugin.model.losses``).

After every epoch, the recall over the whole dev set selects the weights (``retrieval_trainer``).
"""
