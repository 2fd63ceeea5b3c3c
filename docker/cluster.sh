#!/bin/bash
# The container of the try-out cluster: brings it up, lets the portal's worker read how to log in, takes it down at the end.
set -eu

state=/etc/firefly-portal
portal=10001 # the user of the portal's image

cluster() {
  python3 /opt/portal/docker/slurm/cluster.py "$1" --state "$state" "${@:2}"
}

trap 'cluster down; exit 0' TERM INT
cluster up --name try --prefix fp-
chown "$portal" "$state" "$state/clusters.toml" "$state/ca" "$state/ca/ca"
while cluster status > /dev/null; do
  sleep 5 &
  wait $!
done
echo "The cluster has ended by itself; its logs are in $state/cluster/log." >&2
exit 1
