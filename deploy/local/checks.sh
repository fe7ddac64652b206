#!/bin/sh
# Runs each of the given make targets, all of them even if one fails, and ends with a table.
#
#   sh deploy/local/checks.sh TARGET...
set -u
mkdir -p build
table=build/checks.txt
output=build/check.log
: >"$table"
failed=0
passed_tests=0
failed_tests=0
begun=$(date +%s)

# The count that pytest's closing line ("3 passed, 1 failed in 2.05s") gives for a word, or 0.
count() {
    found=$(grep -E ' in [0-9.]+s' "$output" | tail -n 1 | grep -oE "[0-9]+ $1" | grep -oE '^[0-9]+') ||
        found=0
    echo "$found"
}

for target in "$@"; do
    printf '\n=== %s\n' "$target"
    start=$(date +%s)
    # The status of make itself, not of tee, goes through a file.
    { ${MAKE:-make} --no-print-directory "$target" 2>&1; echo $? >build/check.status; } | tee "$output"
    status=$(cat build/check.status)
    word=ok
    [ "$status" -eq 0 ] || { word=FAILED; failed=1; }
    passed=$(count passed)
    broken=$(($(count failed) + $(count errors?)))
    passed_tests=$((passed_tests + passed))
    failed_tests=$((failed_tests + broken))
    tests=
    [ "$((passed + broken))" -eq 0 ] || tests="$passed tests passed, $broken failed"
    printf '  %-18s %-7s %4d s   %s\n' "$target" "$word" "$(($(date +%s) - start))" "$tests" >>"$table"
done

printf '\nWhat ran, in %d s:\n' "$(($(date +%s) - begun))"
cat "$table"
printf '\n%d passed, %d failed\n' "$passed_tests" "$failed_tests"
exit "$failed"
