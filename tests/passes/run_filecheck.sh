#!/bin/sh
# Runs the RUN lines of pass tests:  run_filecheck.sh FILE HONE [FILECHECK]
#
# A line  // RUN: hone opt %s --passes dce | FileCheck %s  runs as a shell command with %s for FILE, `hone`
# for HONE and `FileCheck` for the newest one found. Any part of a pipe that fails fails the test.
set -u
file=$1 hone=$2 filecheck=${3:-}
if [ -z "$filecheck" ]; then
    for v in -22 -21 -20 -19 ''; do
        filecheck=$(command -v "FileCheck$v") && break
    done
fi
if [ -z "$filecheck" ]; then
    echo "run_filecheck.sh: no FileCheck found: apt-get install llvm-19-tools" >&2
    exit 1
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
printf '#!/bin/sh\nexec "%s" "$@"\n' "$hone" >"$dir/hone"
printf '#!/bin/sh\nexec "%s" --dump-input-context=20 "$@"\n' "$filecheck" >"$dir/FileCheck"
chmod +x "$dir/hone" "$dir/FileCheck"
sed -n 's|^[;/#]* *RUN: *||p' "$file" | sed "s|%s|$file|g" >"$dir/run"
if [ ! -s "$dir/run" ]; then
    echo "$file: no RUN line" >&2
    exit 1
fi
while IFS= read -r line; do
    if ! PATH=$dir:$PATH bash -o pipefail -c "$line" </dev/null; then
        echo "FAILED: $file: $line" >&2
        exit 1
    fi
done <"$dir/run"
