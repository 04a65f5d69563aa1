"""Make data/vaani_{train,dev,test} from the files of huggingface.co/datasets/ARTPARK-IISc/Vaani.

python -m local.vaani.prepare --root /corpora/Vaani --target downloads/vaani --languages Hindi
"""

from functools import partial

from local.shared.command import preparation_command
from local.shared.parquet import OPTIONS, Layout, read_parquet

VAANI = Layout(
    name="vaani",
    # the districts' files, which have several languages, hold the same recordings
    recordings=("audio/*/*.parquet", "audio/*/*/*.parquet"),
    language=r"audio/([^/]+)/[^/]+",
    image_of="referenceImage",
    images="images/*.parquet",
    image_id="image.path",
    remedy="Download audio/ and images/ of ARTPARK-IISc/Vaani from the Hugging Face hub into one "
    "folder and name it in db.sh (VAANI=...)",
)

if __name__ == "__main__":
    preparation_command("vaani", partial(read_parquet, VAANI), __doc__, OPTIONS)
