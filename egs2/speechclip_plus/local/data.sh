#!/usr/bin/env bash
# Stage 1: <data_dir>/<corpus>_{train,dev,test} from a corpus as it is published, or generated (mini).
set -e
set -u
set -o pipefail

corpus=mini
nj=2
python=python3
data_dir=data         # where the sets are made
download=false        # fetch the corpus first, into ${download_dir}/<corpus>
download_dir=downloads
speak=false           # synthetic voices say captions that nobody has read aloud
custom_root=${CUSTOM_ROOT:-}  # folder of a corpus of your own
language=             # custom: what is spoken, where the corpus does not say it
allow_outside=false   # the lists may name files outside the corpus's folders
# custom, a folder of Parquet files: local/custom/prepare.py describes these
# shellcheck disable=SC2034  # read by their names below
{
    recording_files=  # gone, as the next: it names what replaces them
    image_files=
    audio_column=
    image_column=
    image_of_column=
    image_id_column=
    speaker_column=
    language_column=
    split_column=
    caption_column=
    languages=
    test_only=
}
world=                # mini: default or babel; empty: as the corpus is named
difficulty=           # gone
mini_root=            # empty: downloads/<corpus>
digits_opts=${DIGITS_OPTS:-}  # options of local/digits/teacher.py, e.g. "--clip_steps 100"
mini_opts=${MINI_OPTS:-}  # options of local/mini/prepare.py, e.g. "--teacher_steps 100"

help_message=$(cat << 'EOF'
Usage: local/data.sh [--corpus mini|mini_babel|digits|flickr8k|spokencoco|custom] [--data_dir data]
                     [--nj 2] [--python python3]
                     [--download false] [--download_dir downloads] [--speak false] [--custom_root DIR] [--language sw]
                     [--allow_outside false] [options of local.custom.prepare for Parquet files]
                     [--digits_opts "options of local.digits.teacher"]
                     [--world default|babel] [--mini_root downloads/mini] [--mini_opts "options of local.mini.prepare"]

Makes <data_dir>/<corpus>_train, _dev and _test. A generated corpus has the seed N if its name ends
with _seedN, such as mini_seed3; without it, the seed is 0. With --speak true, the corpus is
flickr8k_espeak, spokencoco_espeak or custom_<folder>_espeak, or one of these with a seed. Where the
corpora lie, db.sh says: FLICKR8K, FSDD, SPOKENCOCO, MSCOCO; environment variables of the same names win.
EOF
)

. utils/parse_options.sh
[ $# -eq 0 ] || { echo "data.sh: error: $1 belongs to no option; join the words of a value, as in --language Kisa_Ngasa" >&2; exit 2; }
[ -z "${difficulty}" ] || { echo "data.sh: error: --difficulty is gone: --world names mini's world" >&2; exit 2; }
if [ -e path.sh ]; then . ./path.sh; fi
if [ -e db.sh ]; then . ./db.sh; fi
checks=(--data_dir "${data_dir}")
if "${allow_outside}"; then checks+=(--allow_outside); fi

made=${corpus%_seed*}  # without its seed
if "${speak}"; then
    [[ ${made} =~ ^(flickr8k|spokencoco|custom.*)_espeak$ ]] || { echo "local/data.sh: error: with --speak true, the corpus is flickr8k_espeak, spokencoco_espeak or custom_<folder>_espeak, not ${corpus}" >&2; exit 2; }
    made=${made%_espeak}
    checks+=(--speak "${download_dir}/${corpus}" --nj "${nj}")
fi
case "${made}" in
    mini|mini_babel)
        # mini_babel is babel, mini the default
        if [[ "${made}" = mini_* ]]; then world=${world:-${made#mini_}}; fi
        # shellcheck disable=SC2086
        ${python} -m local.mini.prepare --world "${world:-default}" --name "${corpus}" \
            --root "${mini_root:-downloads/${corpus}}" --data_dir "${data_dir}" --nj "${nj}" ${mini_opts};;
    digits)
        fetched=${download_dir}/digits
        if "${download}" && [ -z "${FSDD}" ]; then ${python} -m local.digits.download --target "${fetched}"; fi
        if [ -z "${FSDD}" ] && [ -d "${fetched}/fsdd" ]; then FSDD=${fetched}/fsdd; fi
        target=${download_dir}/${corpus}
        ${python} -m local.digits.prepare --name "${corpus}" --root "${FSDD}" --target "${target}" --data_dir "${data_dir}"
        # shellcheck disable=SC2086
        ${python} -m local.digits.teacher --name "${corpus}" --root "${target}" ${digits_opts};;
    flickr8k)
        if "${download}"; then
            FLICKR8K=${FLICKR8K:-${download_dir}/flickr8k}
            unneeded=()
            if "${speak}"; then unneeded=(--without flickr_audio.tar.gz); fi
            ${python} -m local.flickr8k.download --target "${FLICKR8K}" ${unneeded[@]+"${unneeded[@]}"}
        elif [ -z "${FLICKR8K}" ] && [ -d "${download_dir}/flickr8k" ]; then
            FLICKR8K=${download_dir}/flickr8k
        fi
        ${python} -m local.flickr8k.prepare \
            --root "${FLICKR8K}" "${checks[@]}";;
    spokencoco)
        fetched=${download_dir}/spokencoco
        if "${download}"; then
            if [ -n "${SPOKENCOCO}${MSCOCO}" ]; then
                echo "local/data.sh: error: --download true fetches all of SpokenCOCO into ${fetched}, but SPOKENCOCO or MSCOCO is set; leave both empty (db.sh, environment)" >&2
                exit 2
            fi
            ${python} -m local.spokencoco.download --target "${fetched}"
        fi
        if [ -z "${SPOKENCOCO}" ] && [ -d "${fetched}/SpokenCOCO" ]; then SPOKENCOCO=${fetched}/SpokenCOCO; fi
        if [ -z "${MSCOCO}" ] && [ -d "${fetched}/mscoco" ]; then MSCOCO=${fetched}/mscoco; fi
        ${python} -m local.spokencoco.prepare \
            --root "${SPOKENCOCO}" --mscoco "${MSCOCO}" "${checks[@]}";;
    custom|custom_*)
        for option in recording_files image_files {audio,image,image_of,image_id,speaker,language,split,caption}_column languages test_only; do
            checks+=("--${option}" "${!option}")
        done
        ${python} -m local.custom.prepare \
            --name "${corpus}" --root "${custom_root}" --language "${language}" --target "${download_dir}/${corpus}" "${checks[@]}";;
    *)
        echo "local/data.sh: error: --corpus ${corpus} is unknown; choose mini, mini_babel, digits, flickr8k, spokencoco or custom" >&2
        exit 2;;
esac
