#!/usr/bin/env bash
# Real cluster, image present: the time from the wish to the first counted packet. Needs a cluster (make cluster-up).
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${CLUSTER_DIR:?}"
export KUBECONFIG=${KUBECONFIG:-$CLUSTER_DIR/kubeconfig}
[ -f "$KUBECONFIG" ] || { echo "cluster   none is up (make cluster-up): the first packet was not timed"; exit 0; }
export NODEWATCH_IMAGE=${NODEWATCH_IMAGE:-docker.io/library/nodewatch-agent:$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)}
node=$(kubectl get nodes -o name | head -1)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for round in 1 2 3; do
  begin=$(date +%s%N)
  # One packet ends the capture: its own time is the first counted packet's.
  file=$(target/release/nodewatch-tui capture --nodes "${node#node/}" --max-packets 1 --out "$out/$round" -o json 2>/dev/null |
    sed -n 's/.*"path":"\([^"]*\)".*/\1/p')
  first=$(tshark -r "$file" -T fields -e frame.time_epoch | head -1 | tr -d .)
  echo "cluster   round $round: $(((first - begin) / 1000000)) ms from the start of the program to the first packet (goal 5000)"
done
