#!/usr/bin/env bash
# Builds the fuzz targets and runs each for so many seconds: fuzz/run.sh SECONDS [TARGET...]
# `cargo fuzz run --sanitizer none TARGET` does the same. Without it, too, nothing but the compiler that builds the rest is
# needed: what libFuzzer goes by is counted by a pass of LLVM that stable compilers have. What was found stays in corpus/,
# and an input that fails in artifacts/.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:?seconds}
shift
[ $# -gt 0 ] || set -- packets dns files
triple=$(rustc -vV | sed -n 's/^host: //p')
passes=(level=4 inline-8bit-counters pc-table trace-compares)
export RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module ${passes[*]/#/-Cllvm-args=-sanitizer-coverage-}"
export CARGO_TARGET_DIR=$PWD/target
# With a target named, what runs while building is built without these.
cargo build --quiet --locked --release --target "$triple"
for target in "$@"; do
  mkdir -p "corpus/$target" "artifacts/$target"
  echo "fuzzing $target for $seconds s"
  log=target/$target.log
  if ! "target/$triple/release/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -max_len=4096 \
    -print_final_stats=1 -artifact_prefix="artifacts/$target/" "corpus/$target" >"$log" 2>&1; then
    tail -60 "$log"
    exit 1
  fi
  grep -E 'stat::(number_of_executed_units|new_units_added|peak_rss_mb)' "$log"
done
