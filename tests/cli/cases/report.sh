# quick: the report speaks of doubt: with an adapter, with a calibration; what belongs to another model is refused.
pictures pics 30
tiny model 1
tiny other 2
must encode --model model --data csv:pics/data.csv --out set
must encode --model other --data csv:pics/data.csv --out foreign
must adapt --on set --epochs 2 --hidden 8 --out adapter -q
must calibrate set --out cal.json --bootstrap 0
must report set --adapter adapter --calibration cal.json --out report --bootstrap 20 -q
for f in match levels risk sure unsure reliability; do
    [ -s report/figures/$f.svg ] && [ -s report/figures/$f.tsv ] || fail "figure $f"
    grep -q "section id=\"$f\"" report/index.html || fail "section $f"
done
grep -q ', by adapter' report/index.html || fail "no rows by the adapter"
grep -q 'AUROC of adapter' report/index.html || fail "no row of the adapter among the numbers"
# the same numbers as the command of that name
must eval uncertainty set --adapter adapter --bootstrap 20 --json
for key in auroc aurc; do
    tr -d ' \n' <.out | grep -o "\"adapter\":{.*" | grep -o "\"$key\":[0-9.]*" | cut -c 1-16 >.want
    tr -d ' \n' <report/report.json | sed 's/.*"evaluncertainty"//' | grep -o "\"adapter\":{.*" | grep -o "\"$key\":[0-9.]*" |
        cut -c 1-16 >.have
    [ -s .want ] && cmp -s .want .have || fail "$key: $(cat .want) and $(cat .have)"
done
tr -d ' \n' <report/report.json | grep -q '"calibration":{"image_to_text":{"hits":{"n_queries":' || fail "no calibration"
# without them
must report set --out plain --bootstrap 0 -q
[ -e plain/figures/match.svg ] && fail "p(match) without a calibration"
grep -q 'evaluncertainty' plain/report.json && fail "spaces"
grep -q '"eval uncertainty"' plain/report.json || fail "no scores of doubt"
for refused in "--adapter adapter" "--calibration cal.json"; do
    start report foreign $refused --out none --bootstrap 0 >.out 2>.err
    code=$?
    [ $code = 3 ] || fail "$refused: exit $code, expected 3: $(cat .err)"
    grep -q model .err && grep -q other .err || fail "$refused: does not name both: $(cat .err)"
done
m report set --adapter none --out none
m report set --calibration pics/data.csv --out none
absent none
