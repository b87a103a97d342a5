#!/usr/bin/env bash
# Train on several nodes under Slurm: one torchrun a node, which meet at the first one.
#
#   sbatch --nodes 2 deploy/slurm.sh fineweb-ultra --out /shared/runs/ultra
#
# The run folder and its text have to lie where every node sees them. Prepare them once before:
#   yxanul prepare fineweb-ultra --out /shared/runs/ultra
#
#SBATCH --job-name=yxanul
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=yxanul-%j.log
# Ten minutes before the end Slurm sends SIGTERM: the run saves, and a requeued job goes on.
#SBATCH --signal=B:TERM@600
set -euo pipefail

first_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}

srun --kill-on-bad-exit=1 torchrun \
  --nnodes "$SLURM_JOB_NUM_NODES" \
  --nproc-per-node "${SLURM_GPUS_ON_NODE:-8}" \
  --rdzv-id "$SLURM_JOB_ID" \
  --rdzv-backend c10d \
  --rdzv-endpoint "$first_node:29400" \
  --max-restarts "${MAX_RESTARTS:-3}" \
  -m yxanul train "$@" &
training=$!

# The signal comes to this shell alone; bash waits for a child before it runs a trap, so the child
# runs in the background. Once all is saved the job is asked to run again, and goes on.
stop() {
  kill -TERM "$training"
  wait "$training" || true
  scontrol requeue "$SLURM_JOB_ID"
}
trap stop TERM
wait "$training"
