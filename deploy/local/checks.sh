#!/bin/sh
# Runs each of the given make targets, all of them even if one fails, and ends with a table.
#
#   sh deploy/local/checks.sh [--beside "TARGET..."] TARGET...
#
# Those named by --beside run one after the other while the first of the others does. They have a
# low priority, so they take what it leaves of the processors. Their output comes when it is done.
set -u
beside=
if [ "${1:-}" = --beside ]; then
    beside=$2
    shift 2
fi
results=build/checks
rm -rf "$results" && mkdir -p "$results"
begun=$(date +%s)

# The count that pytest's closing line ("3 passed, 1 failed in 2.05s") gives for a word, or 0.
count() {
    found=$(grep -E ' in [0-9.]+s' "$results/$1.log" | tail -n 1 | grep -oE "[0-9]+ $2" | grep -oE '^[0-9]+') ||
        found=0
    echo "$found"
}

# Keeps what came of a target: its line for the table, and "STATUS PASSED FAILED".
record() {
    target=$1 status=$2 seconds=$3
    word=ok
    [ "$status" -eq 0 ] || word=FAILED
    passed=$(count "$target" passed)
    broken=$(($(count "$target" failed) + $(count "$target" 'errors?')))
    tests=
    [ "$((passed + broken))" -eq 0 ] || tests="$passed tests passed, $broken failed"
    [ "$status" -eq 0 ] || tests="$tests   $results/$target.log"
    printf '  %-18s %-7s %4d s   %s\n' "$target" "$word" "$seconds" "$tests" >"$results/$target.line"
    echo "$status $passed $broken" >"$results/$target.result"
}

run_here() {
    printf '\n=== %s\n' "$1"
    start=$(date +%s)
    # The status of make itself, not of tee, goes through a file.
    { ${MAKE:-make} --no-print-directory "$1" 2>&1; echo $? >"$results/status"; } | tee "$results/$1.log"
    record "$1" "$(cat "$results/status")" "$(($(date +%s) - start))"
}

run_beside() {
    # A shell's background ignores Ctrl-C: whoever ends this process ends what it runs, too.
    trap 'kill "$running"; exit 143' TERM
    for each in $beside; do
        start=$(date +%s)
        nice -n 10 ${MAKE:-make} --no-print-directory "$each" >"$results/$each.log" 2>&1 &
        running=$!
        wait "$running"
        record "$each" $? "$(($(date +%s) - start))"
    done
}

if [ -n "$beside" ]; then
    run_beside &
    lane=$!
    trap 'kill "$lane" 2>/dev/null; exit 130' INT TERM
fi
for each in "$@"; do
    run_here "$each"
    [ -z "${lane:-}" ] && continue
    wait "$lane"
    lane=
    trap - INT TERM
    for aside in $beside; do
        printf '\n=== %s (beside %s)\n' "$aside" "$each"
        cat "$results/$aside.log"
    done
done

printf '\nWhat ran, in %d s:\n' "$(($(date +%s) - begun))"
worst=0 all_passed=0 all_failed=0
for each in $beside "$@"; do
    if [ ! -f "$results/$each.result" ]; then
        # Somebody killed what ran it. What was not run has not passed.
        printf '  %-18s NEVER ENDED\n' "$each"
        worst=1
        continue
    fi
    cat "$results/$each.line"
    read -r status passed broken <"$results/$each.result"
    [ "$status" -eq 0 ] || worst=1
    all_passed=$((all_passed + passed))
    all_failed=$((all_failed + broken))
done
[ -z "$beside" ] || printf '(%s ran beside %s.)\n' "$(echo "$beside" | sed 's/ /, /g')" "$1"
printf '\n%d passed, %d failed\n' "$all_passed" "$all_failed"
exit "$worst"
