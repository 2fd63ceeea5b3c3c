#!/bin/sh
# The database's container: makes the database at the first start, then is PostgreSQL.
#
# The server's own superuser is reached on the local socket only, by who can enter the container. The portal gets a
# role and a database of its own; its password is in the secret file database_password.
set -eu

data=/var/lib/postgresql/data/portal
draft=$data.new
as_postgres="setpriv --reuid=postgres --regid=postgres --init-groups --"

chown postgres:postgres "$(dirname "$data")"
if [ ! -d "$data" ]; then
  rm -rf "$draft" # of a first start that was interrupted
  $as_postgres initdb --pgdata "$draft" --encoding UTF8 --auth-local peer --auth-host scram-sha-256
  echo "host all all all scram-sha-256" >> "$draft/pg_hba.conf"
  password=$(sed "s/'/''/g" /run/secrets/database_password)
  printf '%s\n' "CREATE ROLE portal LOGIN PASSWORD '$password'" "CREATE DATABASE portal OWNER portal" \
    | $as_postgres postgres --single -D "$draft" postgres > /dev/null
  mv "$draft" "$data"
fi
exec $as_postgres postgres -D "$data" -c listen_addresses='*'
