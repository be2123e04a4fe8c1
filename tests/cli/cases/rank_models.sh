# quick: candidates in an order that has not seen the pairs; what is refused; the same answer twice.
pictures pics 12
tiny model1 1
tiny model2 2
for i in 1 2; do
    must encode --model model$i --data csv:pics/data.csv --out set$i
    must calibrate set$i --out cal$i.json --validation-share 1
    must encode --model model$i --data csv:pics/data.csv --limit 9 --out few$i
done
OMP_NUM_THREADS=1
export OMP_NUM_THREADS
m rank-models set1 set2 --truth --bootstrap 20 -q
must rank-models set1 set2 --truth --json -q
for want in '"ranking": [{"path": "set' '"by": ["cycle", "spread", "inverted", "max-p"]' '"kendall": {"cycle": {"tau_b": ' '"combined": {' \
    '"recall_at_1": {' '"why": "no adapter"' '"why": "no calibration"' '"temperature_from": '; do
    grep -qF -- "$want" .out || fail "no $want in $(cat .out)"
done
mv .out first.json
must rank-models set1 set2 --truth --json -q
cmp -s .out first.json || fail "not the same twice"
must rank-models set1 set2 --calibration cal1.json,cal2.json --by p-match,cycle --json -q
grep -qF '"by": ["cycle", "p-match"]' .out || fail "by"
grep -qF '"calibration_is": "each candidate'"'"'s own"' .out || fail "own"
must rank-models set1 set2 --calibration cal1.json,cal2.json --json -q
grep -qF '"by": ["cycle", "spread", "inverted", "max-p", "p-match"]' .out || fail "p-match of their own is not in the order"
must rank-models set1 set2 --calibration cal1.json --json -q
grep -qF '"by": ["cycle", "spread", "inverted", "max-p"]' .out || fail "a shared p-match is in the order"
must rank-models set1 set2 --calibration cal1.json -q
grep -q 'one calibration for all' .out || fail "shared"
must adapt --on set1 --out a --epochs 1 --batch 4 --hidden 8 -q
must rank-models set1 set2 --adapter a --json -q
! grep -q '"why": "no adapter"' .out || fail "the adapter was not asked"
m rank-models set1
m rank-models set1 few1 -q
m rank-models set1 set2 --by cycles
m rank-models set1 set2 --by cycle,p-match -q
m rank-models set1 set2 --calibration cal1.json,cal2.json,cal1.json
m rank-models set1 set2 --calibration cal2.json,cal1.json -q
m rank-models set1 nosuch -q
