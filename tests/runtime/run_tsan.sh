#!/bin/sh
# Runs a ThreadSanitizer program. GCC 12's runtime cannot map its shadow on kernels with much address
# randomisation: then without randomisation; where that is not allowed either, the test is skipped.
"$1" >"$1.log" 2>&1
code=$?
if grep -q "unexpected memory mapping" "$1.log"; then
    setarch "$(uname -m)" -R "$1" >"$1.log" 2>&1
    code=$?
    grep -q "unexpected memory mapping\|failed to set personality" "$1.log" && exit 77
fi
cat "$1.log"
exit $code
