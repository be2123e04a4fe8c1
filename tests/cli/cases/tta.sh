# quick: test-time augmentation through the command line: inputs with a model, vectors without; the same twice and for any threads.
pictures pics 12
tiny model 1
tiny other 2
must encode --model model --data csv:pics/data.csv --out set -q
must adapt --on set --method tta --model model --passes 4 --out inputs -q
must adapt --on set --method tta --passes 4 --out vectors -q
for a in inputs vectors; do
    must predict $a set --out $a.csv -q --threads 1
    cp .out $a.txt
    must predict $a set --out again.csv -q --force --threads 2
    cmp -s $a.csv again.csv || fail "$a: not the same with another number of threads"
    must predict $a set --out other.csv -q --force --seed 9
    cmp -s $a.csv other.csv && fail "$a: the seed does not count"
    grep -qi nan $a.csv && fail "nan in $a.csv"
    say "$(grep -E '^(image|text) +[a-z]' $a.txt)"
done
# a row does not see the others: of a set of the first pictures alone its numbers are the same
head -n 9 pics/data.csv >pics/few.csv
must encode --model model --data csv:pics/few.csv --out few -q
must predict inputs few --out few.csv -q
grep '^image,[0-3],' inputs.csv | cut -d , -f 1-3 >.all
grep '^image,' few.csv | cut -d , -f 1-3 >.few
cmp -s .all .few || fail "a picture's uncertainty depends on the others: $(diff .all .few)"
must predict vectors set --out given.csv -q --model model --json
grep -q '"how": "pictures cropped and encoded again"' .out || fail "no how"
must eval uncertainty set --adapter inputs --score adapter --bootstrap 0 -q
must sample vectors set --row 1 -n 3 --out draws.npy
m adapt --on set --method tta --model other --out x
m adapt --on set --method tta --perturb inputs --out x
absent x
start predict inputs set --model other --out x.csv >.out 2>.err
[ $? = 3 ] || fail "another model's vectors were taken: $(cat .err)"
rm pics/few.csv
mv pics elsewhere
m predict inputs set --out x.csv -q
must predict inputs set --out x.csv --path-base elsewhere -q
cmp -s x.csv inputs.csv || fail "--path-base gives other numbers"
