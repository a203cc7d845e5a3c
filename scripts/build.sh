#!/usr/bin/env bash
# build.sh DIR [MESON-OPTION...]: configures DIR where that has not been done yet, and builds.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$1
shift
if [[ ! -e $dir/build.ninja ]]; then meson setup "$dir" "$@"; fi
exec ninja -C "$dir"
