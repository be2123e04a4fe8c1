# calibrate, search with p(match), --risk and --coverage, review: what is written, what is refused.
pictures pics 60
tiny model 1
tiny other 2
must encode --model model --data csv:pics/data.csv --out set
must encode --model other --data csv:pics/data.csv --out foreign
m calibrate set --out cal.json --bootstrap 20 --figure rel.svg
[ -s cal.json ] && grep -q '<svg' rel.svg && [ "$(wc -l <rel.tsv)" -gt 20 ] || fail "outputs"
m calibrate set --out rel2.tsv --figure rel2.svg
absent rel2.tsv
m calibrate set --out cal.json
must calibrate set --out foreign.json --bootstrap 0 --method isotonic --force
must calibrate foreign --out foreign.json --bootstrap 0 --force
# every method and every score
for method in beta platt isotonic temperature; do
    must calibrate set --out m.json --force --bootstrap 0 --method $method --features softmax --json
    grep -q '"ece": 0\.[0-9]' .out || fail "$method: no ece"
    must search set --row 3 --of text -k 5 --calibration m.json --json
    [ "$(grep -o '"p_match": [01]*\.[0-9]' .out | wc -l)" = 5 ] || fail "$method: $(cat .out)"
done
m search set --row 3 --of text -k 2 --calibration cal.json
m search set --row 3 --of text -k 2 --calibration cal.json --json
# the page says what the answer says
must search set --row 3 --of text -k 2 --calibration cal.json --out hits.html
[ "$(grep -o '<b>[0-9.<]* *[0-9.]*[^%]*%</b>' hits.html | wc -l)" = 2 ] || fail "page: no p(match)"
must search set --row 3 --of text --calibration cal.json --risk 0.01 --out unsure.html
grep -q 'unsure: ' unsure.html || fail "page: not unsure"
! grep -q 'Nothing found' unsure.html || fail "page: nothing found"
m search set --text red -k 1 --model model --calibration cal.json --risk 0.01
m search set --row 3 --of text -k 2 --calibration cal.json --risk 0.01 --json
m search set --row 3 --of text --calibration cal.json --coverage 0.5 --json
m search set --row 3 --of text --calibration cal.json --coverage 0.999
# refused
m search set --row 3 --of text --calibration foreign.json
m search set --row 3 --calibration cal.json
m search set --row 3 --of text --risk 0.1
m search set --row 3 --of text --calibration cal.json --risk 0.1 --coverage 0.9
m search set --row 3 --of text --calibration cal.json --confidence 0.99
m search set --row 3 --of text --calibration cal.json --risk 0.1 --confidence 0.3
m search set --row 3 --of text --calibration none.json
m calibrate set --features cosine,size --out x.json
m calibrate set --split-column fold --out x.json
m calibrate set --validation val --out x.json
m calibrate set --test test --validation-rows rows.txt --out x.json
echo 5 >rows.txt; echo 60 >>rows.txt
m calibrate set --validation-rows rows.txt --out x.json
absent x.json
printf '%s\n' 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 >fit.txt
printf '%s\n' 40 41 42 43 44 45 46 47 48 49 50 51 >judge.txt
must calibrate set --validation-rows fit.txt --test-rows judge.txt --out x.json --bootstrap 0
head -c 300 cal.json >cut.json
m search set --row 3 --of text --calibration cut.json
# review
m review set --what mismatches,duplicates -n 3 --out list.csv
head -n 1 list.csv >>"$transcript"
[ "$(wc -l <list.csv)" = 7 ] || fail "list.csv has $(wc -l <list.csv) lines"
m review set --what mismatches -n 2
m review set --what ambiguous -n 1 --json
m review set --what typos
m review set --what mismatches --out list.csv
