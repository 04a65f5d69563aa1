#!/usr/bin/env bash
# All stages of SpeechCLIP(+), whatever the corpus. ./run.sh calls this with a corpus's settings.
set -e
set -u
set -o pipefail

# shellcheck source=scripts/utils/supervise.sh
. scripts/utils/supervise.sh

log() {
    local fname=${BASH_SOURCE[1]##*/}
    echo -e "$(date '+%Y-%m-%dT%H:%M:%S') (${fname}:${BASH_LINENO[0]}:${FUNCNAME[1]}) $*"
}
fail() {
    log "Error: $*" >&2
    exit 1
}
SECONDS=0

# the options are variables there
# shellcheck source=scripts/stages/options.sh
. scripts/stages/options.sh
# shellcheck source=scripts/stages/helpers.sh
. scripts/stages/helpers.sh
trap at_exit EXIT
# shellcheck source=scripts/stages/locks.sh
. scripts/stages/locks.sh

if runs_stage 1; then
    begin_stage 1 "data preparation of ${corpus:-the corpus} (local/data.sh)"
    # shellcheck disable=SC2086
    local/data.sh --corpus "${corpus}" --data_dir "${datadir}" --nj "${nj}" --python "${python}" ${local_data_opts}
    for name in "${all_sets[@]}"; do
        [ -s "${datadir}/${name}/wav.scp" ] || fail "local/data.sh did not make ${datadir}/${name}/wav.scp"
    done
    end_stage 1
fi

if runs_stage 2; then
    begin_stage 2 "format recordings to ${fs}Hz, one channel, ${audio_format}; check them and images -> ${data_feats}/org"
    for name in "${all_sets[@]}"; do
        need_data "${datadir}/${name}/wav.scp"
        out=${data_feats}/org/${name}
        ${python} -m espnet_plugin.bin.datadir copy --input_dir "${datadir}/${name}" --output_dir "${out}"
        if [ "${train_cmd}" = run.pl ]; then
            ${python} -m espnet_plugin.bin.format_wav_scp --wav_scp "${datadir}/${name}/wav.scp" --output_dir "${out}" \
                --fs "${fs}" --audio_format "${audio_format}" --nj "${nj}" --max_bad "${max_bad}"
        else
            jobs=$(jobs_of "${datadir}/${name}/wav.scp" "${nj}")
            ${train_cmd} JOB=1:"${jobs}" "${out}/logs/format_wav_scp.JOB.log" \
                ${python} -m espnet_plugin.bin.format_wav_scp --wav_scp "${datadir}/${name}/wav.scp" --output_dir "${out}" \
                --fs "${fs}" --audio_format "${audio_format}" --part "JOB/${jobs}"
            ${python} -m espnet_plugin.bin.format_wav_scp --wav_scp "${datadir}/${name}/wav.scp" --output_dir "${out}" \
                --fs "${fs}" --audio_format "${audio_format}" --merge --nj "${nj}" --max_bad "${max_bad}"
        fi
    done
    end_stage 2
fi

if runs_stage 3; then
    begin_stage 3 "remove too short and too long recordings, check the tables -> ${data_feats}"
    for name in "${all_sets[@]}"; do
        org=${data_feats}/org/${name}
        need_data "${org}/utt2num_samples"
        limits=()
        if [ "${name}" = "${train_set}" ]; then
            limits=(--min_seconds "${min_wav_duration}" --max_seconds "${max_wav_duration}")
        elif [ "${name}" = "${valid_set}" ]; then
            limits=(--max_seconds 400)  # as inference; training pads its batches to the longest
        fi
        ${python} -m espnet_plugin.bin.datadir filter --input_dir "${org}" --output_dir "${data_feats}/${name}" \
            --fs "${fs}" ${limits[@]+"${limits[@]}"}
        ${python} -m espnet_plugin.bin.datadir fix --dir "${data_feats}/${name}"
        ${python} -m espnet_plugin.bin.datadir image_ids --dir "${data_feats}/${name}" --audio_format "${audio_format}"
        options=()
        # only captions of the corpus are a vocabulary's source that must be there
        if [ -n "${model}" ] || [[ ${vocab_from} != train && ${vocab_from} != all ]]; then options=(--no_text); fi
        ${python} -m espnet_plugin.bin.datadir validate --dir "${data_feats}/${name}" ${options[@]+"${options[@]}"}
    done
    end_stage 3
fi

if runs_stage 4; then
    begin_stage 4 "image embeddings of CLIP ${teacher[*]} -> ${clip_dir}"
    image_scps=()
    for name in "${all_sets[@]}"; do image_scps+=("${data_feats}/${name}/image.scp"); done
    need_data "${image_scps[@]}"
    mkdir -p "${clip_dir}"
    LC_ALL=C sort -u "${image_scps[@]}" > "${clip_dir}/.image.scp"
    mv "${clip_dir}/.image.scp" "${clip_dir}/image.scp"
    jobs=$(jobs_of "${clip_dir}/image.scp" "${inference_nj}")
    run_jobs "image embeddings" "${clip_dir}" "${jobs}" dump_image_embeddings --image_scp "${clip_dir}/image.scp" \
        --output_dir "${clip_dir}" --output_scp "${clip_dir}/logs/image_embedding.JOB.scp" "${clip_args[@]}"
    join_scp image_embedding "${clip_dir}" "${jobs}"
    for name in "${all_sets[@]}"; do
        ${python} -m espnet_plugin.bin.datadir image_feats --dir "${data_feats}/${name}" \
            --embedding_scp "${clip_dir}/image_embedding.scp"
    done
    end_stage 4
fi

if runs_stage 5; then
    begin_stage 5 "keyword vocabulary (${vocab_text:-${vocab_from}}) -> ${token_list}"
    options=()
    case "${vocab_from}" in
        general) options=(--general_words "${datadir}/token_list/general_english.tsv");;
        text) options=(--vocab_text "${vocab_text}");;
        train) options=(--text "${data_feats}/${train_set}/text");;
        all)
            # every caption of the corpus, also of images in no split and of skipped recordings
            options=(--original --text)
            if [ -s "${datadir}/local/${corpus}/captions" ]; then
                options+=("${datadir}/local/${corpus}/captions")
            else
                for name in "${all_sets[@]}"; do options+=("${data_feats}/${name}/text"); done
            fi;;
        clip) options=(--whole_clip);;
    esac
    ${python} -m espnet_plugin.bin.keyword_vocabulary "${options[@]}" --clip_model "${clip_model}" --output "${token_list}"
    end_stage 5
fi

# What training and inference are told about the model, beside the configuration.
model_args=(
    "${encoder_args[@]}"
    --clip_conf "model=${clip_model}"
    --clip_conf "pretrained=${clip_pretrained}"
    --keyword_vocabulary "${token_list}"
)
# The data of one set for training: data_args <train|valid> <set>
data_args() {
    local dir=${data_feats}/$2 option=--$1_data_path_and_name_and_type
    if "${dump_speech_states}"; then
        printf '%s\n' "${option}" "${dir}/speech_states.scp,speech_states,frames"
    else
        printf '%s\n' "${option}" "${dir}/wav.scp,speech,sound"
    fi
    printf '%s\n' "${option}" "${dir}/image_feat.scp,image,npy" "${option}" "${dir}/utt2image_id,image_id,text_int"
    if [ -e "${dir}/text" ]; then printf '%s\n' "${option}" "${dir}/text,text,text"; fi
}
if runs_stage 6 || runs_stage 7; then
    mapfile -t train_data < <(data_args train "${train_set}")
    mapfile -t valid_data < <(data_args valid "${valid_set}")
fi

if runs_stage 6; then
    begin_stage 6 "shape files -> ${stats_dir}"
    for name in "${train_set}" "${valid_set}"; do
        need_data "${data_feats}/${name}/utt2num_samples" "${data_feats}/${name}/image_feat.scp"
    done
    if "${dump_speech_states}"; then
        # inference starts from the recordings, so the test sets need none
        for name in "${train_set}" "${valid_set}"; do
            out=${states_dir}/${name}
            log "hidden states of ${upstream_name}, ${name} -> ${out}"
            jobs=$(jobs_of "${data_feats}/${name}/wav.scp" "${inference_nj}")
            # the speech encoder's options are the training's
            # shellcheck disable=SC2086
            run_jobs "hidden states" "${out}" "${jobs}" dump_speech_states \
                --wav_scp "${data_feats}/${name}/wav.scp" --utt2num_samples "${data_feats}/${name}/utt2num_samples" \
                --output_dir "${out}" --output_scp "${out}/logs/speech_states.JOB.scp" --states_dtype "${states_dtype}" \
                -- --config "${speechclip_config}" "${encoder_args[@]}" ${speechclip_args}
            join_scp speech_states "${out}" "${jobs}"
            cp "${out}/speech_states.scp" "${data_feats}/${name}/speech_states.scp"
        done
    fi
    for pair in "train ${train_set}" "valid ${valid_set}"; do
        read -r part name <<< "${pair}"
        mkdir -p "${stats_dir}/${part}"
        used=${data_feats}/${name}/wav.scp
        # without those whose states could not be stored
        if "${dump_speech_states}"; then used=${data_feats}/${name}/speech_states.scp; fi
        # a number of samples per utterance is all that the batch sampler wants to know
        awk 'NR == FNR {used[$1]; next} $1 in used' "${used}" "${data_feats}/${name}/utt2num_samples" \
            > "${stats_dir}/${part}/speech_shape"
    done
    end_stage 6
fi

for descriptor in "${data_descriptors[@]}"; do
    if [ -n "${descriptor}" ]; then flock --nonblock --shared "${descriptor}"; fi
done

if runs_stage 7; then
    begin_stage 7 "training with ${speechclip_config} -> ${speechclip_exp}"
    need_data "${stats_dir}/train/speech_shape" "${stats_dir}/valid/speech_shape" "${token_list}"
    need_fresh "stage 5" "${token_list}"
    for name in "${train_set}" "${valid_set}"; do
        need_own_embeddings "${data_feats}/${name}/image_feat.scp"
    done
    mkdir -p "${speechclip_exp}"
    init_args=()
    if [ -n "${pretrained_model}" ]; then
        need_data "${pretrained_model%%:*}"
        # not the update counter, by which CIF's scaling and the quantiser's temperature are scheduled
        IFS=: read -r init_file init_from init_to init_without <<< "${pretrained_model}"
        init_without=${init_without:+${init_without},}num_updates
        init_args=(--init_param "${init_file}:${init_from}:${init_to}:${init_without}" --ignore_init_mismatch "${ignore_init_mismatch}")
    fi
    languages=()
    synthetic=$(awk '/^espeak-/ {n++} END {print NR ? n / NR : 0}' "${data_feats}/${train_set}/utt2spk")
    if [ -e "${data_feats}/${train_set}/utt2lang" ]; then
        mapfile -t languages < <(awk 'NF > 1 {print $2}' "${data_feats}/${train_set}/utt2lang" | LC_ALL=C sort -u)
        languages=(--spoken_languages "${languages[@]}")
    fi
    keep_call  # of a start that was killed
    {
        echo "#!/usr/bin/env bash"
        echo "# trains this model again, from the recipe's folder"
        echo "${run_args}--stage 7 --stop_stage 7"
    } > "${speechclip_exp}/.run.sh"
    chmod +x "${speechclip_exp}/.run.sh"
    log "log: ${speechclip_exp}/train.log"
    follow "${speechclip_exp}/train.log"
    # shellcheck disable=SC2086
    OMP_NUM_THREADS=${num_threads} ${python} -m espnet2.bin.launch \
        --cmd "${cuda_cmd} --name ${speechclip_exp##*/}" \
        --log "${speechclip_exp}/train.log" \
        --ngpu "${ngpu}" \
        --num_nodes "${num_nodes}" \
        --init_file_prefix "${speechclip_exp}/.dist_init_" \
        --multiprocessing_distributed true -- \
        ${python} -m espnet_plugin.bin.speechclip_train \
        --use_preprocessor true \
        "${train_data[@]}" "${valid_data[@]}" \
        --train_shape_file "${stats_dir}/train/speech_shape" \
        --valid_shape_file "${stats_dir}/valid/speech_shape" \
        --resume true \
        ${init_args[@]+"${init_args[@]}"} \
        --output_dir "${speechclip_exp}" \
        --config "${speechclip_config}" \
        --seed "${seed}" \
        --synthetic_speech "${synthetic}" \
        "${model_args[@]}" ${languages[@]+"${languages[@]}"} ${speechclip_args} \
        > "${speechclip_exp}/launch.log" 2>&1 \
        || { unfollow
             training_log=${speechclip_exp}/train.log
             # an earlier start's, when this one did not come so far
             if ! [ "${training_log}" -nt "${speechclip_exp}/.run.sh" ]; then training_log=${speechclip_exp}/launch.log; fi
             tail -n 25 "${training_log}" >&2
             resume=
             # what is refused before the first epoch would be refused again
             if [ -e "${speechclip_exp}/checkpoint.pth" ] && grep -q 'epoch started' "${training_log}"; then
                 resume=". Start stage 7 again to resume"
             fi
             fail "training failed; see ${training_log}${resume}"; }
    keep_call
    end_stage 7
fi

if runs_stage 8; then
    begin_stage 8 "inference with ${model:-${inference_model}} -> ${inference_dir}"
    if [ -z "${model}" ]; then need_data "${speechclip_exp}/config.yaml"; fi
    if [ -z "${model}" ] && ! [ -e "${speechclip_exp}/${inference_model}" ]; then
        fail "${speechclip_exp}/${inference_model} is missing; there are $(cd "${speechclip_exp}" && echo ./*.pth)"
    fi
    need_own_training
    options=()
    if [ -n "${inference_config}" ]; then options=(--config "${inference_config}"); fi
    if [ -z "${model}" ]; then
        if "${trust_remote_code}" || { [ "${speech_encoder}" = s3prl ] && names_teachers_of_this_call; }; then
            options+=(--trust_remote_code)
        fi
    fi
    for name in "${eval_sets[@]}"; do
        set_dir=${data_feats}/${name}
        out=${inference_dir}/${name}
        need_data "${set_dir}/wav.scp" "${set_dir}/image_feat.scp"
        jobs=$(jobs_of "${set_dir}/wav.scp" "${inference_nj}")
        output=${out}
        if [ "${jobs}" -gt 1 ]; then output=${out}/logs/output.JOB; fi
        captions=()
        if [ -e "${set_dir}/text" ]; then captions=(--text "${set_dir}/text"); fi
        log "inference on ${name}, log: ${out}/logs/speechclip_inference.1.log"
        # shellcheck disable=SC2086
        run_jobs "inference" "${out}" "${jobs}" speechclip_inference \
            ${options[@]+"${options[@]}"} --seed "${seed}" \
            --data_path_and_name_and_type "${set_dir}/wav.scp,speech,sound" ${captions[@]+"${captions[@]}"} \
            --utt2image "${set_dir}/utt2image" --image_scp "${clip_dir}/image_embedding.scp" \
            --shape_file "${set_dir}/utt2num_samples" "${inferring[@]}" --output_dir "${output}" ${inference_args}
        if [ "${jobs}" -gt 1 ]; then
            parts=()
            for job in $(seq "${jobs}"); do parts+=("${out}/logs/output.${job}"); done
            ${python} -m espnet_plugin.bin.speechclip_inference --merge "${parts[@]}" --output_dir "${out}" \
                > "${out}/logs/merge.log" 2>&1 \
                || { tail -n 25 "${out}/logs/merge.log" >&2; fail "the jobs' outputs cannot be put together; see ${out}/logs/merge.log"; }
        fi
    done
    end_stage 8
fi

if runs_stage 9; then
    begin_stage 9 "scoring -> ${inference_dir}/RESULTS.md"
    write_stage_seconds
    need_own_training
    # what is chosen is chosen on the validation set, in a search of its images and training's
    options=()
    if "${eval_valid_set}"; then
        need_data "${data_feats}/${train_set}/image_feat.scp"
        options=(--dev_set "${valid_set}" --train_dir "${data_feats}/${train_set}")
    fi
    read -r first_test_set _ <<< "${test_sets}"  # the report is about it
    sets=("${first_test_set}")
    for name in "${eval_sets[@]}"; do
        need_data "${inference_dir}/${name}/utterances.txt"
        need_fresh "stage 8" "${inference_dir}/${name}"
        if [ "${name}" != "${first_test_set}" ]; then sets+=("${name}"); fi
    done
    if ! "${report}"; then options+=(--no_report); fi
    ${python} -m espnet_plugin.bin.score --expdir "${experiment}" --inference_dir "${inference_dir}" \
        --sets "${sets[@]}" --data_root "${data_feats}" ${options[@]+"${options[@]}"}
    end_stage 9
fi

packed_model=${speechclip_exp}/model
if runs_stage 10; then
    begin_stage 10 "the model's folder -> ${packed_model}"
    need_own_training
    options=()
    if [ -e "${inference_dir}/RESULTS.md" ]; then
        for name in "${eval_sets[@]}"; do need_fresh "stage 8" "${inference_dir}/${name}"; done
        need_fresh "stage 9" "${inference_dir}/scores.json"
        options+=(--option "${inference_dir}/RESULTS.md")
    fi
    if [ -e "${inference_dir}/choices.json" ]; then
        need_fresh "stages 8 and 9" "${inference_dir}/choices.json"
        options+=(--choices "${inference_dir}/choices.json")
    fi
    ${python} -m espnet_plugin.bin.speechclip_pack \
        --train_config "${speechclip_exp}/config.yaml" --model_file "${speechclip_exp}/${inference_model}" \
        ${options[@]+"${options[@]}"} --outpath "${packed_model}" > "${speechclip_exp}/pack.log" 2>&1 \
        || { tail -n 25 "${speechclip_exp}/pack.log" >&2; fail "packing failed; see ${speechclip_exp}/pack.log"; }
    end_stage 10
fi

if runs_stage 11; then
    begin_stage 11 "upload of ${packed_model} to ${hf_repo}"
    need_data "${packed_model}"
    need_fresh "stage 10" "${packed_model}"
    ${python} -m espnet_plugin.bin.recipe upload "${packed_model}" "${hf_repo}" || fail "nothing was uploaded"
    end_stage 11
fi

finished="stage ${chosen[*]}"
if [ ${#chosen[@]} -gt 1 ]; then finished="stages ${chosen[*]}"; fi
log "Successfully finished ${finished} in ${SECONDS} s${not_uploaded}"
if runs_stage 9; then
    ${python} -m espnet_plugin.bin.recipe close --inference_dir "${inference_dir}" --packed_model "${packed_model}"
fi
