# Every command's page has a summary, a usage line, its options from the table, and one example that begins with its name.
m help
# The overview names every command.
"$program" | sed -n 's/^  \([a-z-]*\( [a-z]*\)\{0,1\}\)   *.*/\1/p' >.names
n=0
while read -r name; do
    "$program" help $name >.page 2>.err || fail "help $name"
    "$program" $name --help >.page2 2>.err || fail "$name --help"
    cmp -s .page .page2 || fail "help $name and $name --help differ"
    grep -q "^meridian $name: " .page || fail "$name: no summary"
    grep -q "^usage: meridian $name" .page || fail "$name: no usage"
    grep -q "^ *--json  *print one JSON object" .page || fail "$name: no --json"
    grep -A1 "^example:" .page | grep -q "^  meridian $name" || fail "$name: no example"
    n=$((n + 1))
done <.names
say "$n pages"
# Start-up stays short: the picture libraries (about a hundred shared objects) load with the first picture.
if command -v ldd >/dev/null && ldd "$program" 2>/dev/null | grep -q 'libvips'; then
    fail "the program is linked with libvips"
fi
