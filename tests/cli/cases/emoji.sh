# The emoji world by name: splits, names, a set, its report.
[ -e /usr/share/unicode/emoji/emoji-test.txt ] || skip "no emoji-test.txt (package unicode-data)"
m data emoji --split test -n 1 --json
must init "$here/tiny.json" --data emoji --vocab-size 600 --out model
must encode --model model --data emoji --split compositional --captions name --out set --json
grep -q '"n_failed": 0' .out || fail "failed pictures"
must report set --out report --bootstrap 20
grep -q "data:image/jpeg\|data:image/png" report/index.html || fail "no thumbnails"
must search set --text "woman firefighter" --model model -k 3 --json
m data emoji --split tset
