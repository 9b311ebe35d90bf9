#!/usr/bin/env bash
# Ours beside others: installs who can be installed, then lets `convoke-bench compare` run all of them by turns.
# The environment is all that this script does; what is measured, and by what rule it is compared, is in the program, where
# it has tests.
set -euo pipefail

usage() {
    cat <<'USAGE'
usage: bench/compare.sh [--times N] [--only NAME] [--peers DIR] [--venv DIR] [--json FILE]

  --times N    how many turns each work has [default: 5]
  --only NAME  only works, or others, in whose names this is: PyTorch, Flower, Dask, Ray, "one empty task"
  --peers DIR  the others' scripts [default: ../shared/bench beside the project]: torch_letters.py, torch_mlp.py,
               dask_tasks.py, ray_tasks.py, spawn_limit.c
  --venv DIR   Python's environment; it is made if it is not there [default: target/compare-venv]
  --json FILE  the figures as JSON, beside the table

What is missing and can be had is installed into the environment. What cannot is skipped, with a line that says why. HyperQueue
takes part if `hq` is in the PATH. Nothing else should run meanwhile.
USAGE
}

project=$(cd "$(dirname "$0")/.." && pwd)
times=5 only='' peers=$project/../shared/bench venv=$project/target/compare-venv json=''
while [ $# -gt 0 ]; do
    case "$1" in
        -h | --help) usage; exit 0 ;;
        --times | --only | --peers | --venv | --json)
            [ $# -ge 2 ] || { echo "$1 needs a value: bench/compare.sh --help" >&2; exit 2; }
            case "$1" in
                --times) times=$2 ;;
                --only) only=$2 ;;
                --peers) peers=$2 ;;
                --venv) venv=$2 ;;
                --json) json=$2 ;;
            esac
            shift 2 ;;
        *) echo "unknown argument $1: bench/compare.sh --help" >&2; exit 2 ;;
    esac
done

# Paths are the caller's, from wherever this is called.
absolute() {
    case "$1" in
        '' | /*) printf %s "$1" ;;
        *) printf %s "$PWD/$1" ;;
    esac
}
peers=$(absolute "$peers") venv=$(absolute "$venv") json=$(absolute "$json")

say() { printf '%s\n' "$*" >&2; }

# Whether --only leaves any of these: names of works or of others, as `convoke-bench compare` has them.
is_asked() {
    local asked name
    asked=$(printf %s "$only" | tr '[:upper:]' '[:lower:]')
    for name in "$@"; do
        case "$(printf %s "$name" | tr '[:upper:]' '[:lower:]')" in
            *"$asked"*) return 0 ;;
        esac
    done
    return 1
}

# install MODULE PACKAGE...: unless the module is there; says why not where they cannot be had.
install() {
    local module=$1 log
    shift
    "$venv/bin/python" -c "import importlib.util as u, sys; sys.exit(u.find_spec('$module') is None)" && return 0
    say "installing $*"
    log=$("$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" 2>&1) ||
        say "skipped: $*: $(printf %s "$log" | tail -1)"
}

if [ ! -x "$venv/bin/python" ]; then
    say "making $venv"
    python3 -m venv "$venv" || say "skipped: everything that needs Python: there is no python3 with venv"
fi
if [ -x "$venv/bin/python" ]; then
    letters='letters, learning alone' small='64-64-10, batch 64, 1,500 rows x 20' digits='784-256-10, batch 128, 60,000 rows'
    tasks='empty tasks' alone='one empty task alone'
    if [ -d "$peers" ]; then
        if is_asked PyTorch "$letters" "$small" "$digits"; then install torch torch numpy; fi
        if is_asked Dask "$tasks" "$alone"; then install distributed dask distributed; fi
        if is_asked Ray "$tasks" "$alone"; then install ray ray; fi
    fi
    if is_asked "Flower's simulation" 'letters, command to result'; then install flwr numpy 'flwr[simulation]'; fi
fi
[ -d "$peers" ] || say "skipped: PyTorch, Dask, Ray and the limit of the machine: there is no $peers"

cd "$project"
cargo build --release --locked -p convoke -p convoke-bench
# An option whose value is empty is none.
exec "${CARGO_TARGET_DIR:-target}/release/convoke-bench" compare --times "$times" --only "$only" --peers "$peers" --venv "$venv" \
    --flower "$project/bench/flower_letters.py" ${json:+--report "$json"}
