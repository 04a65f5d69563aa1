#!/usr/bin/env bash
# How jobs are started. Every job of the recipe runs as
#   <cmd> [--gpu N] [--mem M] [--num_threads N] [--num_nodes N] [JOB=1:N] <log> <command...>
# where JOB is replaced by the job's number. Logs are in the folders that the stages name.
#
# cmd_backend: local  on this machine, in parallel (utils/run.pl)
#              slurm  through sbatch (utils/slurm.pl, options in conf/slurm.conf)
# The environment variable wins: cmd_backend=slurm ./run.sh ...

cmd_backend=${cmd_backend:-local}

case "${cmd_backend}" in
    local)
        export train_cmd="run.pl"   # arrays of processor jobs
        export cuda_cmd="run.pl"    # training
        export decode_cmd="run.pl"  # inference
        ;;
    slurm)
        export train_cmd="slurm.pl"
        export cuda_cmd="slurm.pl"
        export decode_cmd="slurm.pl"
        ;;
    *)
        echo "cmd.sh: error: cmd_backend=${cmd_backend} is unknown; choose local or slurm" >&2
        return 1
        ;;
esac
