#!/bin/sh
# tests/tools/test_scripts.sh: the scripts that people start, where they can be tried without a build or the network.
set -u
root=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
place=$(mktemp -d) || exit 1
trap 'rm -rf "$place"' EXIT
passed=0
failed=0
expect() { # NAME RC SENTENCE COMMAND...
    name=$1 want=$2 sentence=$3
    shift 3
    out=$("$@" </dev/null 2>&1)
    rc=$?
    case $out in *"$sentence"*) found=1 ;; *) found=0 ;; esac
    if [ $rc = "$want" ] && [ $found = 1 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s: exit code %s (expected %s), output:\n%s\n' "$name" "$rc" "$want" "$out"
    fi
}

for f in demo check .ci/run tools/check-rooms tools/install-packages tools/build tools/sum-tests bench/tokenize; do
    expect "$f parses" 0 "" sh -n "$root/$f"
done

# install-packages, with stand-ins for Debian's tools: dpkg-query knows what $place/installed lists.
mkdir "$place/bin" "$place/none"
cat >"$place/bin/dpkg-query" <<'END'
#!/bin/sh
for p; do :; done
grep -qx "$p" "$INSTALLED" && { echo installed; exit 0; }
echo "no packages found matching $p" >&2
exit 1
END
for tool in apt-get sudo; do
    printf '#!/bin/sh\necho "CALLED %s $*"\nexit ${APT_RC:-0}\n' $tool >"$place/bin/$tool"
done
printf '#!/bin/sh\necho "${FAKE_UID:-0}"\n' >"$place/bin/id"
chmod +x "$place/bin/"*
INSTALLED=$place/installed
export INSTALLED
names=$(awk '$1 == "build" { print $2 }' "$root/tools/packages.txt")
install() { env PATH="$place/bin:$PATH" "$@"; }

printf '%s\n' $names >"$INSTALLED"
out=$(install "$root/tools/install-packages" build 2>&1)
if [ $? = 0 ] && [ -z "$out" ]; then passed=$((passed + 1)); else
    failed=$((failed + 1))
    echo "FAILED: nothing missing, yet it spoke or failed: $out"
fi
printf '%s\n' $names | grep -vx libvips-dev >"$INSTALLED"
expect "root installs what is missing" 0 "CALLED apt-get install -y --no-install-recommends libvips-dev" \
    install "$root/tools/install-packages" build
expect "others through sudo" 0 "CALLED sudo -n env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends libvips-dev" \
    install FAKE_UID=1000 "$root/tools/install-packages" build
expect "a failing apt-get is told" 1 "Could not install libvips-dev" install APT_RC=100 "$root/tools/install-packages" build
expect "go on without" 0 "Not installed (MERIDIAN_NO_INSTALL=1): libvips-dev" \
    install MERIDIAN_NO_INSTALL=1 "$root/tools/install-packages" build
expect "unknown group" 2 'no group "nonsense"' install "$root/tools/install-packages" nonsense
expect "no group" 2 "usage: tools/install-packages" install "$root/tools/install-packages"

# demo refuses what is not its own.
mkdir -p "$place/mine/set" && echo precious >"$place/mine/set/file"
expect "demo keeps foreign folders" 1 "is none of mine" "$root/demo" "$place/mine"
[ "$(cat "$place/mine/set/file")" = precious ] || { failed=$((failed + 1)); echo "FAILED: demo touched a foreign file"; }
expect "demo: unknown option" 2 "unknown option" "$root/demo" --frobnicate
expect "demo: help" 0 "FOLDER" "$root/demo" --help
expect "demo: a file in its place" 1 "cannot make the folder" "$root/demo" "$place/mine/set/file"
expect "check: words" 2 "usage" "$root/check" now

# sum-tests counts cases, programs without cases, crashes and skips.
mkdir -p "$place/b/meson-logs"
cat >"$place/b/meson-logs/testlog.json" <<'END'
{"name": "a", "stdout": "[ RUN ] x\n", "result": "OK", "stderr": "[  PASSED  ] 12 test(s).\n[  SKIPPED ] 2 test(s), listed below:\n"}
{"name": "b", "stdout": "", "result": "OK", "returncode": 0}
{"name": "c", "stdout": "", "result": "FAIL", "stderr": "[  PASSED  ] 3 test(s).\n[  FAILED  ] 2 test(s), listed below:\n"}
{"name": "d", "stdout": "it said \"result\": \"OK\"", "result": "TIMEOUT"}
{"name": "e", "result": "SKIP"}
END
expect "sum-tests" 0 "16 passed, 3 failed, 3 skipped" "$root/tools/sum-tests" "$place/b"
expect "sum-tests without a run" 1 "no test has run there" "$root/tools/sum-tests" "$place/none"

echo "[  PASSED  ] $passed test(s)."
[ $failed = 0 ] || echo "[  FAILED  ] $failed test(s)."
[ $failed = 0 ]
