#!/usr/bin/env bash
# Packs what was built for one platform as a release archive, and writes krew's manifest for all archives that there are.
#   dist.sh PROGRAMS_FOLDER OS ARCH OUT_FOLDER URL
# PROGRAMS_FOLDER has nodewatch-tui and, for Linux, nodewatch-agent. URL is where the project's releases are.
set -euo pipefail
programs=$1 os=$2 arch=$3 out=$4 url=$5
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install -m 755 "$programs/nodewatch-tui" "$work/nodewatch-tui"
# What kubectl looks for when it is told `kubectl nodewatch`.
ln -s nodewatch-tui "$work/kubectl-nodewatch"
[ "$os" != linux ] || install -m 755 "$programs/nodewatch-agent" "$work/nodewatch-agent"
install -m 644 LICENSE README.md assets/config.example.toml "$work/"
mkdir -p "$work/docs/schema" "$work/completions"
install -m 644 docs/*.md "$work/docs/"
install -m 644 docs/schema/*.json "$work/docs/schema/"
# Programs of another platform do not run here; their completions and manual are the same.
teller=$programs/nodewatch-tui
"$teller" --version >/dev/null 2>&1 || teller=target/debug/nodewatch-tui
for shell in bash zsh fish powershell; do "$teller" completions "$shell" >"$work/completions/nodewatch-tui.$shell"; done
"$teller" man >"$work/nodewatch-tui.1"
archive=$out/nodewatch-tui-$version-$os-$arch.tar.gz
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@"${SOURCE_DATE_EPOCH:-0}" -czf "$archive" .

manifest=$out/nodewatch.yaml
sed -e "s|@VERSION@|$version|g" -e "s|@URL@|$url|g" -e '/^#/d' assets/krew.yaml >"$manifest"
for one in linux-amd64 linux-arm64 darwin-amd64 darwin-arm64; do
  name=SHA256_$(tr 'a-z-' 'A-Z_' <<<"$one")
  file=$out/nodewatch-tui-$version-$one.tar.gz
  if [ -f "$file" ]; then
    sed -i "s|@$name@|$(sha256sum "$file" | cut -d' ' -f1)|" "$manifest"
  else
    # The platform's five lines: selector, uri, sha256, bin.
    sed -i "/os: ${one%-*}, arch: ${one#*-}}/,+3d" "$manifest"
  fi
done
(cd "$out" && sha256sum ./*.tar.gz >SHA256SUMS)
echo "$archive" "$manifest"
