#!/usr/bin/env bash
# Sourced by speechclip.sh: makes sure that this run may write its folders, and that no other run
# writes them at the same time.
# shellcheck disable=SC2154  # options.sh sets what is read here

# Keeps a file locked while this script or anything that it started is running, whatever ends it:
# lock <file> <shared|exclusive> <what>; the lock is then that of ${lock_descriptor}
lock() {
    command -v flock > /dev/null || return 0
    mkdir -p "${1%/*}"
    # of a folder from elsewhere: what a link leads to would be overwritten
    [ ! -L "$1" ] || fail "$1 is a link, which no run leaves; remove it"
    exec {lock_descriptor}>> "$1"
    flock --nonblock "--$2" "${lock_descriptor}" || fail "$3: in use by another run, or by jobs that it left behind:
  $(< "$1")
  Wait until it is done, or stop it. (The lock is ${1}; it goes with its processes.)"
    echo "process $$ on $(uname -n), user $(id -un), since $(date '+%F %T'): ${run_args}" > "$1"
}
# Removes what killed runs left half written in folders that are locked.
sweep() {
    local folder
    for folder in "$@"; do
        if [ -d "${folder}" ]; then find "${folder}" \( -name '.*.[0-9a-f]*.part*' -o -name '.dist_init_*' \) -prune -exec rm -rf {} +; fi
    done
}

# another corpus of the same name may neither replace the sets nor score what was trained on them
if [ -n "${CUSTOM_ROOT:-}" ] && [ -e "${datadir}/local/${corpus}/root" ]; then
    prepared=$(< "${datadir}/local/${corpus}/root")
    [ "${prepared}" = "${CUSTOM_ROOT}" ] || fail "the sets ${corpus}_* in ${datadir} are of ${prepared}, not of ${CUSTOM_ROOT}. Rename one of the folders. If you moved the corpus, remove ${datadir}/local/${corpus}/root and start at stage 1"
fi

writes=("${dumpdir}")
if runs_stage 1; then writes+=("${datadir}"); fi
if [ "${chosen[-1]}" -gt 5 ]; then writes+=("${expdir}"); fi
for folder in "${writes[@]}"; do
    mkdir -p "${folder}" 2> /dev/null && [ -w "${folder}" ] \
        || fail "${folder} cannot be written to: the file system is read-only, or it is someone else's. Mount it for writing, or choose others with --dumpdir, --expdir and --datadir"
done

# trainings of several models may share the data, which none of them writes
lock_descriptor=
data_descriptors=()
lock_data() {
    lock "$1" "${data_mode}" "$2"
    data_descriptors+=("${lock_descriptor}")
}
data_mode=shared
if [ "${chosen[0]}" -le 6 ]; then data_mode=exclusive; fi
data_folders=("${clip_dir}")
for name in "${all_sets[@]}"; do
    lock_data "${dumpdir}/.lock_${name}" "the data of ${name}"
    data_folders+=("${datadir}/${name}" "${data_feats}/${name}" "${data_feats}/org/${name}" "${states_dir}/${name}")
done
lock_data "${dumpdir}/.lock_${clip_dir##*/}" "the image embeddings in ${clip_dir}"
if [ "${data_mode}" = exclusive ]; then
    if runs_stage 1; then data_folders+=("downloads/${corpus}" "${datadir}/local/${corpus}"); fi
    sweep "${data_folders[@]}" "${token_list%/*}" "${stats_dir}"
fi
if [ "${chosen[-1]}" -gt 6 ]; then
    lock "${speechclip_exp}/.lock" exclusive "${speechclip_exp}"
    sweep "${speechclip_exp}"
fi
