#!/usr/bin/env bash
# Packs the built agent as an image archive for the test cluster: the dynamic program, the libraries that it names,
# and the file capability that lets a non-root container capture.
#   image.sh AGENT_BINARY OUT.tar NAME:TAG
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$1" "$work/nodewatch-agent"
setcap cap_net_raw=ep "$work/nodewatch-agent"
mapfile -t libraries < <(ldd "$1" | grep -oE '/[^ ]+' | sort -u | awk '{print $1 "=" $1}')
python3 "$here/mkimage.py" "$2" "$3" /nodewatch-agent "$work/nodewatch-agent=/nodewatch-agent" "${libraries[@]}"
