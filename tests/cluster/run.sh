#!/usr/bin/env bash
# The cluster tests: against the cluster that KUBECONFIG names, or against a real one on this machine, which is built
# (once, into a cache folder), started and removed again.
#   run.sh        runs the tests
#   run.sh up     leaves a cluster running with the agent image loaded, and says how to use it
# A cluster of our own has two nodes, and three for a whole incident.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
: "${K8S_BIN:?}" "${CLUSTER_DIR:?}"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
# The name that containerd gives an image without a registry.
image=docker.io/library/nodewatch-agent:$version

# Starts a cluster with so many nodes, removing one that there is, and loads both images.
begin() {
  "$here/cluster.sh" down
  NODES=$1 "$here/cluster.sh" up
  local archive
  archive=$(mktemp --suffix .tar)
  "$here/image.sh" target/debug/nodewatch-agent "$archive" "$image"
  NODES=$1 "$here/cluster.sh" load "$archive"
  "$here/stock-image.sh" target/debug/nodewatch-agent "$archive" "$NODEWATCH_STOCK_IMAGE"
  NODES=$1 "$here/cluster.sh" load "$archive"
  rm -f "$archive"
}

# One at a time: they share the nodes. No other test program is built for it.
tests() {
  cargo nextest run --workspace --test cluster --run-ignored only -E "$1" --test-threads 1 --no-fail-fast
}

cargo build --quiet
own=
if [ -n "${KUBECONFIG:-}" ]; then
  export NODEWATCH_IMAGE=${NODEWATCH_IMAGE:?name the agent image that the cluster can pull}
  operator=$(mktemp)
  trap '"$here/operator.sh" remove; rm -f "$operator"' EXIT
else
  [ "$(id -u)" = 0 ] || { echo "a cluster on this machine needs root; or set KUBECONFIG" >&2; exit 1; }
  "$here/build-kubernetes.sh" "$K8S_BIN"
  own=yes
  export NODEWATCH_STOCK_IMAGE=docker.io/library/stock:1
  [ "${1:-}" = up ] || trap '"$here/cluster.sh" down' EXIT
  begin "${NODES:-2}"
  export KUBECONFIG=$CLUSTER_DIR/kubeconfig NODEWATCH_IMAGE=$image
  operator=$CLUSTER_DIR/operator.kubeconfig
  # Processes of this cluster may be killed and started by the tests.
  export NODEWATCH_TEST_CLUSTER="$here/cluster.sh"
fi
# The program under test runs as somebody with no more than manifests/operator-rbac.yaml.
"$here/operator.sh" "$operator"
export NODEWATCH_OPERATOR_KUBECONFIG=$operator
if [ "${1:-}" = up ]; then
  echo "export KUBECONFIG=$KUBECONFIG NODEWATCH_IMAGE=$NODEWATCH_IMAGE"
  exit 0
fi
status=0
tests 'not test(/^incident::/)' || status=$?
if [ -n "$own" ]; then
  begin 3
  "$here/operator.sh" "$operator"
fi
tests 'test(/^incident::/)' || status=$?
exit "$status"
