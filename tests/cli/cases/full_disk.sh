# No space: a limit on the size of a file stands in for a full disk.
tiny model
(ulimit -f 1 2>/dev/null) || skip "no ulimit -f"
limited() { (ulimit -f 2; exec "$program" "$@") >.out 2>.err; code=$?; say "$ meridian $*"; talk .err; say "= $code"; }
limited init "$here/tiny.json" --data csv:pics/data.csv --vocab-size 540 --out other
absent other
limited encode --model model --data csv:pics/data.csv --out set
absent set
limited train --model model --data csv:pics/data.csv --out run --epochs 1 --batch 6
must encode --model model --data csv:pics/data.csv --out set2
limited report set2 --out report --bootstrap 20
absent report
