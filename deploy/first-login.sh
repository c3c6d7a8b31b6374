#!/bin/sh
# Once, after the NameNode's first start: the admin's own password, and a token for three DataNodes.
# Run again it finds the token and leaves.
set -eu

token=/run/dfs/join-token
one_time=/var/lib/dfs/namenode/admin-password
own=/run/secrets/admin-password

[ -s "$token" ] && exit 0

if ! dfs login admin --password-stdin --quiet <"$own" 2>/dev/null; then
  dfs login admin --password-stdin --quiet <"$one_time"
  { cat "$one_time"; echo; cat "$own"; echo; } | grep . | dfs passwd --password-stdin --quiet
fi

umask 077
dfs-admin join-token --uses 3 >"$token.part"
mv "$token.part" "$token"
