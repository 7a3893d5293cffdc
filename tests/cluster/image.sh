#!/usr/bin/env bash
# Packs the built agent as an image archive for the test cluster: the dynamic program, the libraries that it names, and
# what assets/image.py gives the image that is released.
#   image.sh AGENT_BINARY OUT.tar NAME:TAG [OPTION...]
# OPTIONs are those of assets/image.py; OUT.tar may be empty.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$top/Cargo.toml" | head -1)
mapfile -t libraries < <(ldd "$1" | grep -oE '/[^ ]+' | sort -u | awk '{print $1 "=" $1}')
python3 "$top/assets/image.py" --agent "$version" --name "$3" ${2:+--archive "$2"} "${@:4}" "$1=/nodewatch-agent" "${libraries[@]}"
