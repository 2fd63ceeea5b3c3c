#!/bin/bash
# The constant batch script: the scheduler gets this, and the member's own script is its payload.
# It starts in the job's folder. Exit code: the payload's; 73 if another job owns the folder.
set -u

# First of all, for a signal that nobody has asked for yet ends a shell.
trap 'exit 143' TERM
trap '' USR1

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
  run=(env "./$script") # for `exec` alone would make the path absolute
else
  run=(bash "./$script")
fi

# The payload's process id and then its code come through a pipe, from a shell that no signal disturbs: where a trap ends
# `wait` in the moment of the payload's end, bash has lost the code (5.2 says -1, others 127).
heard=
trap 'heard=yes' TERM
exec 4>&1
exec 3< <(
  trap '' TERM USR1
  (
    trap - TERM USR1
    echo "$BASHPID"
    exec "${run[@]}" >&4 4>&-
  ) &
  wait "$!"
  echo "$?"
)
keeper=$!
read -r payload <&3 || read -r payload <&3 # a signal may end the first

interrupted=
trap 'interrupted=yes; pass_on TERM' TERM
trap 'interrupted=yes; ! listens || pass_on USR1' USR1
[ -z "$heard" ] || pass_on TERM

# A trap ends `wait` early; then the payload is still to be waited for.
while wait "$keeper"; status=$?; [ -n "$interrupted" ]; do
  interrupted=
done
read -r told <&3 && status=$told
exit "$status"
