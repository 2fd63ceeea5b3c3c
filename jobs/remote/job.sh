#!/bin/bash
# The constant batch script: the scheduler gets this, and the member's own script is its payload.
# It starts in the job's folder. Exit code: the payload's; 73 if another job owns the folder.
set -u

# First of all, for a signal that nobody has asked for yet ends a shell.
payload=
interrupted=
trap 'interrupted=yes; [ -n "$payload" ] || exit 143; pass_on TERM' TERM
trap 'interrupted=yes; ! listens || pass_on USR1' USR1

# shellcheck disable=SC2317,SC2329  # both functions are reached through the traps
pass_on() {
  kill -s "$1" "$payload" 2>/dev/null
}

# A notice (USR1) kills a program that doesn't catch it: only one that does may hear it.
# shellcheck disable=SC2317,SC2329
listens() {
  local caught
  caught=$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$payload/status" 2>/dev/null)
  [ -n "$caught" ] && (( 0x$caught & 1 << ($(kill -l USR1) - 1) ))
}

# Run once. `ln` makes the name with its content in one step: whoever comes second reads a whole owner.
# The same id again is a requeue of this very job and goes on. The tasks of a sweep have the array's id in common, and
# Slurm gives each number to one of them only: so each task runs once, too.
job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}
printf '%s\n' "$job" > ".owner.$SLURM_JOB_ID"
ln ".owner.$SLURM_JOB_ID" .owner 2>/dev/null
rm -f ".owner.$SLURM_JOB_ID"
read -r owner < .owner
if [ "$owner" != "$job" ]; then
  echo "firefly: this work is already being done by job $owner; job $job ends here." >&2
  exit 73
fi

# Which task this is, counted from 0, and of how many: under names that no scheduler owns.
export FIREFLY_TASK="${SLURM_ARRAY_TASK_ID:-0}" FIREFLY_TASKS="${SLURM_ARRAY_TASK_COUNT:-1}"

IFS= read -r script < .script
if [ "$(head -c 2 -- "$script")" = '#!' ]; then
  chmod u+x -- "$script"
  "./$script" &
else
  bash "./$script" &
fi
payload=$!

# A trap ends `wait` early; then the payload is still to be waited for. If it ends in that very moment, bash may have lost
# its code (-1 in 5.2, 127 in others): what it then ended by is the signal.
signalled=
while wait "$payload"; status=$?; [ -n "$interrupted" ]; do
  interrupted=
  signalled=$status
done
case $status in
  -1 | 127) exit "${signalled:-$status}" ;;
  *) exit "$status" ;;
esac
