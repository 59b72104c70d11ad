#!/usr/bin/env bash
# Shows a group of workers live on the sandbox cloud: create, roll, scale, repair, destroy. `make demo`.
# DEMO_CORE=/path/to/tofu chooses the core, DEMO_PROVIDER=/path shows a provider that is built already. Works in a scratch folder; nothing stays behind.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../tests/demo.sh"
demonstrate "$here" "terraform 1.8 or tofu 1.7"

say "1. Three workers, from a Butane file and a signed release"
core apply -auto-approve
say "2. Planned again: nothing to do"
core plan
say "3. The Butane file changes: the plan says machine by machine what rolls, and why"
variables=(-var "message=Welcome to the second generation.")
core plan
core apply -auto-approve
say "4. Five instead of three: two are added, none is rolled"
variables+=(-var replicas=5)
core plan
core apply -auto-approve
say "5. Somebody deletes a machine behind our back: that one alone is repaired"
lost=$(find .flatcar-sandbox/machines -name '*.json' | sort | head -n 1)
command_line "rm $lost"
rm "$lost"
core plan
core apply -auto-approve
say "6. Everything is destroyed"
core destroy -auto-approve
printf '  machines left in the sandbox: %s\n' "$(machines)"
[ "$(machines)" = 0 ] || die "machines were left behind"
printf '\n%sDone in %s seconds after the build.%s The same configuration with %saws = { ... }%s in place of %ssandbox = { ... }%s makes EC2 instances.\n' \
  "$bold" "$((SECONDS - began))" "$off" "$dim" "$off" "$dim" "$off"
