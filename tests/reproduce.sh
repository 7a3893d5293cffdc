#!/usr/bin/env bash
# Builds the committed sources twice, in two folders with their own targets, and compares what comes out byte by byte:
# the static agent and its image. PROGRAMS="nodewatch-agent nodewatch-tui" takes both programs, and twice as long.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for folder in one another/and-deeper; do
  mkdir -p "$work/$folder"
  git archive HEAD | tar -x -C "$work/$folder"
  (
    cd "$work/$folder"
    export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-0} CARGO_TARGET_DIR=target
    case ${PROGRAMS:-nodewatch-agent} in *nodewatch-tui*) make --silent static image ;; *) make --silent image ;; esac
  )
done
for file in ${PROGRAMS:-nodewatch-agent}; do
  cmp "$work/one/target/static/$file" "$work/another/and-deeper/target/static/$file"
  sha256sum <"$work/one/target/static/$file" | sed "s/-/$file: the same bytes/"
done
cmp "$work/one/target/image.digest" "$work/another/and-deeper/target/image.digest"
sed 's/$/ the image/' "$work/one/target/image.digest"
