"""Make data/afri_mcqa_{train,dev,test} from the files on which MTEB's AfriMCQA tasks test.

They are huggingface.co/datasets/vnahata/AfriMCQA-speech-image-retrieval.

    python -m local.afri_mcqa.prepare --root /corpora/AfriMCQA --target downloads/afri_mcqa
"""

from functools import partial

from local.shared.command import preparation_command
from local.shared.parquet import OPTIONS, Layout, read_parquet

AFRI_MCQA = Layout(
    name="afri_mcqa",
    recordings=("*_audio.parquet",),
    language=r"(.+)_(?:audio|images)\.parquet",
    image_of="image_id",
    images="*_images.parquet",
    image_id="id",
    remedy="Download vnahata/AfriMCQA-speech-image-retrieval from the Hugging Face hub and name "
    "its folder in db.sh (AFRI_MCQA=...)",
)

if __name__ == "__main__":
    preparation_command("afri_mcqa", partial(read_parquet, AFRI_MCQA), __doc__, OPTIONS)
