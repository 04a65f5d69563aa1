#!/bin/sh
# Stands for Python. It notes each call in ${CALLS}, as a line of JSON.
# It runs the light commands and ESPnet's launcher with ${REAL_PYTHON}, and makes the outputs of others.
# FAIL: this module fails. FINISHED: training finds nothing to do. BREAKS: it fails in its third
# epoch. HANG: it does not end; this file gets its processes. UNREADABLE: this key gets no output.
call=
for word; do
    case ${word} in *[\"\\]*) word=$(printf '%s' "${word}" | sed 's/["\\]/\\&/g');; esac
    call="${call:+${call}, }\"${word}\""
done
printf '[%s]\n' "${call}" >> "${CALLS}"
module=
if [ "$1" = -m ]; then module=${2##*.}; fi
if [ -n "${module}" ] && [ "${module}" = "${FAIL}" ]; then
    echo "${module} fails as it was told to" >&2
    exit 1
fi
if [ "${module} ${3:-}" = "recipe options" ]; then
    shift 2
    without="import espnet_plugin.bin.recipe as r; r._check_training = lambda *_: 0; r.main()"
    exec "${REAL_PYTHON}" -c "${without}" "$@"
fi
if [ "${module} ${3:-}" = "recipe upload" ]; then exec grep "model" "$4/config.yaml"; fi
case ${module} in ''|datadir|finished|format_wav_scp|launch|recipe) exec "${REAL_PYTHON}" "$@";; esac

option='' folder=. file=./none
for word; do
    case ${option} in
        --output_dir|--directory|--inference_dir) folder=${word};;
        --output|--output_scp|--outpath) file=${word};;
        --image_scp|--wav_scp) listed=${word};;
        --part) part=${word%/*} parts=${word#*/};;
        --sets) test_set=${word};;
        --seed) seed=${word};;
    esac
    option=${word}
done
mkdir -p "${folder}" "$(dirname "${file}")"
case ${module} in
    speechclip_train)
        if [ -n "${HANG:-}" ]; then
            sleep 120 &
            echo "$$ $!" > "${HANG}"
            wait
        elif [ -n "${BREAKS:-}" ]; then
            touch "${folder}/checkpoint.pth"
            printf 'INFO: 3/9epoch started. Estimated time to finish: a while\nout of memory\n' >&2
            exit 1
        elif [ -z "${FINISHED:-}" ]; then
            echo "seed: 0" > "${folder}/config.yaml"
            touch "${folder}/valid.recall_mean_at_1.ave.pth" "${folder}/checkpoint.pth"
            echo "the training's log, seed ${seed}"
        fi;;
    keyword_vocabulary) printf 'id\ttoken\tcount\n320\ta</w>\t1\n' > "${file}";;
    dump_image_embeddings|dump_speech_states)
        awk -v part="${part}" -v parts="${parts}" -v folder="${folder}" -v without="${UNREADABLE:-}" '
            { key[NR] = $1 }
            END {
                for (n = int(NR * (part - 1) / parts) + 1; n <= int(NR * part / parts); n++)
                    if (key[n] != without) print key[n], folder "/" key[n] ".npy"
            }' "${listed}" > "${file}";;
    speechclip_inference)
        echo 0a_1 > "${folder}/utterances.txt"
        touch "${folder}/keywords.jsonl";;
    score)
        touch "${folder}/RESULTS.md"
        case " $* " in *" --no_report "*) ;; *) touch "${folder}/report.html";; esac
        printf '{"test_set": "%s", "parallel": {"speech_to_image": {"recall@1": 0.5, "recall@10": 0.935}},' \
            "${test_set}" > "${folder}/scores.json"
        echo '"fusion": {"speech_to_image": {"recall@1": 0.6, "recall@10": 0.97}}}' >> "${folder}/scores.json"
        echo "the table";;
    speechclip_pack)
        mkdir -p "${file}"
        touch "${file}/config.yaml"
        echo "what packing says";;
esac
