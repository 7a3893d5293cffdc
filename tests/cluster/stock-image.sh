#!/usr/bin/env bash
# Packs an image such as every cluster has some of: a shell and a few tools, nothing of ours. The libraries are those of
# the tools and of the agent that is sent into it here, which is linked dynamically.
#   stock-image.sh AGENT_BINARY OUT.tar NAME:TAG
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
files=()
for tool in sh head sha256sum chmod mv sleep; do files+=("$(readlink -f "$(command -v "$tool")")=/bin/$tool"); done
mapfile -t libraries < <(for file in "${files[@]%%=*}" "$1"; do ldd "$file"; done | grep -oE '/[^ ]+' | sort -u | awk '{print $1 "=" $1}')
python3 "$top/assets/image.py" --name "$3" --archive "$2" --entrypoint /bin/sh "${files[@]}" "${libraries[@]}"
