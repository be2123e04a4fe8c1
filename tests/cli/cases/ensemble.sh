# quick: an ensemble is an adapter to every command that takes one; the mean of several adapters' weights; what is refused.
pictures pics 12
tiny model1 1
tiny model2 2
must encode --model model1 --data csv:pics/data.csv --out set1
must encode --model model2 --data csv:pics/data.csv --out set2
OMP_NUM_THREADS=1
export OMP_NUM_THREADS
few='--epochs 2 --batch 4 --hidden 8 -q'
must adapt --on set1 --out e $few --ensemble 3 --json
grep -q '"pairs":' .out || fail "no report"
ls e e/members >.names
say $(cat .names)
for k in 0 1 2; do
    must predict e/members/$k set1 --out m$k.csv -q
done
! cmp -s m0.csv m1.csv || fail "two members are the same"
must predict e set1 --out e.csv --json -q
grep -q '"method": "ensemble"' .out || fail "method: $(cat .out)"
must inspect e --json
grep -q '"method": "ensemble".*"members": 3' .out || fail "inspect: $(cat .out)"
must predict e set1 --out again.csv -q
cmp -s e.csv again.csv || fail "not the same twice"
! grep -qi nan e.csv || fail "nan"
must sample e set1 --row 2 -n 3 --region near --out near.npy
must likelihood e set1 --row 2 --out l.csv --json
must eval uncertainty set1 --adapter e --score adapter --bootstrap 0 --json
grep -q '"adapter":' .out || fail "no adapter's score"
must rank-models set1 set2 --adapter e --json -q
start predict e set2 --out x.csv >.out 2>.err
[ $? = 3 ] || fail "another model's set is taken"
m adapt --on set1 --out e $few --ensemble 2
m adapt --on set1 --out x --method bayesvlm --ensemble 2 -q
m adapt --on set1 --out x --ensemble 65
absent x
must adapt --on set1 --out a $few
must adapt --on set1 --out b $few --seed 1
must adapt --on set1 --out wide --epochs 2 --batch 4 --hidden 9 -q
m adapt --average a,b --out mean
must adapt --average a,b --weights 3,1 --out mean2 --json
must predict mean set1 --out mean.csv -q
must predict mean2 set1 --out mean2.csv -q
! cmp -s mean.csv mean2.csv || fail "the weights change nothing"
m adapt --average a,wide --out x
m adapt --average a,e --out x
m adapt --average a --out x
m adapt --average a,,b --out x
m adapt --average a,b --weights 1 --out x
m adapt --average a,b --weights 1,much --out x
m adapt --average a,b --weights 1,-1 --out x
m adapt --average a,b --on set1 --out x
m adapt --on set1 --weights 1,2 --out x
m adapt --average a,b --out mean
absent x
