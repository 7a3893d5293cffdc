#!/usr/bin/env bash
# Packs what was built for one platform as a release archive, and writes krew's manifest for all archives that there are, the
# source archive, Homebrew's formula, the PKGBUILD and the sums of all that is there.
#   dist.sh PROGRAMS_FOLDER OS ARCH OUT_FOLDER URL
# PROGRAMS_FOLDER has nodewatch-tui and, for Linux, nodewatch-agent. URL is where the project's releases are. What is in the
# programs, as assets/inventory.py lists it in INVENTORY (target/inventory), goes along; the lists of components lie beside the archive.
set -euo pipefail
programs=$1 os=$2 arch=$3 out=$4 url=$5
cd "$(dirname "$0")/.."
inventory=${INVENTORY:-target/inventory}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
install -m 755 "$programs/nodewatch-tui" "$work/nodewatch-tui"
# What kubectl looks for when it is told `kubectl nodewatch`.
ln -s nodewatch-tui "$work/kubectl-nodewatch"
# And what it asks for completions of that.
ln -s nodewatch-tui "$work/kubectl_complete-nodewatch"
[ "$os" != linux ] || install -m 755 "$programs/nodewatch-agent" "$work/nodewatch-agent"
install -m 644 LICENSE README.md assets/config.example.toml "$work/"
if [ -d "$inventory" ]; then
  install -m 644 "$inventory/THIRD-PARTY.txt" "$work/"
  for list in "$inventory"/sbom-*.cdx.json; do
    program=$(basename "$list" .cdx.json)
    install -m 644 "$list" "$out/${program#sbom-}-$version-$os-$arch.cdx.json"
  done
fi
mkdir -p "$work/docs/schema" "$work/completions"
install -m 644 docs/*.md "$work/docs/"
install -m 644 docs/schema/*.json "$work/docs/schema/"
# Programs of another platform do not run here; their completions and manual are the same.
teller=$programs/nodewatch-tui
"$teller" --version >/dev/null 2>&1 || teller=target/debug/nodewatch-tui
for shell in bash zsh fish powershell; do "$teller" completions "$shell" >"$work/completions/nodewatch-tui.$shell"; done
"$teller" man >"$work/nodewatch-tui.1"
archive=$out/nodewatch-tui-$version-$os-$arch.tar.gz
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@"${SOURCE_DATE_EPOCH:-0}" -cf - . | gzip -9n >"$archive"

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
# The committed sources; the recipes that build from them need to know the sum.
if git rev-parse --verify --quiet HEAD >/dev/null; then
  source=$out/nodewatch-tui-$version-source.tar.gz
  git archive --format=tar --prefix="nodewatch-tui-$version/" HEAD | gzip -9n >"$source"
  sum=$(sha256sum "$source" | cut -d' ' -f1)
  for recipe in nodewatch-tui.rb PKGBUILD; do
    sed -e "s|@VERSION@|$version|g" -e "s|@URL@|$url|g" -e "s|@SHA256_SOURCE@|$sum|" -e '/^#/d' "assets/$recipe" >"$out/$recipe"
  done
fi
(cd "$out" && find . -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS)
echo "$archive" "$manifest"
