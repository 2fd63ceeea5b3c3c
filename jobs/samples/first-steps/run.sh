#!/bin/bash
# A first job: says where it runs and what it got, works for half a minute, and leaves a result.
#SBATCH --job-name="First steps"
#SBATCH --gpus=1
#SBATCH --time=5
set -euo pipefail

echo "Running on $(hostname) since $(date --utc +%H:%M:%S) UTC, as job ${SLURM_JOB_ID:-unknown}."
echo "GPUs of this job: ${CUDA_VISIBLE_DEVICES:-none}"
command -v nvidia-smi > /dev/null && nvidia-smi

steps=$(cat steps.txt)
echo "step,seconds,pi" > pi.csv
for ((step = 1; step <= steps; step++)); do
  pi=$(awk -v n="$((step * 20000))" 'BEGIN { for (i = 0; i < n; i++) sum += (i % 2 ? -4 : 4) / (2 * i + 1); printf "%.8f", sum }')
  echo "$step,$SECONDS,$pi" >> pi.csv
  echo "step $step of $steps: π ≈ $pi"
  sleep 1
done

echo "Done. The result is in pi.csv: download it from the job's page."
