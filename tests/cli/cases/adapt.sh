# quick: an adapter from a set to its uses: fitting, refusals, the table, draws, likelihoods; another model's set is refused (exit 3).
pictures pics 12
tiny model1 1
tiny model2 2
must encode --model model1 --data csv:pics/data.csv --out set1
must encode --model model2 --data csv:pics/data.csv --out set2
OMP_NUM_THREADS=1
export OMP_NUM_THREADS
m adapt --on set1 --epochs 2 --hidden 8
m adapt --on set1 --out a --method magic
m adapt --on set1 --out a --epochs 0
must adapt --on set1 --out a --epochs 3 --batch 4 --hidden 8 --threads 1 -q --json
for key in final_loss steps seconds validation; do
    grep -q "\"$key\":" .out || fail "no $key in $(cat .out)"
done
for file in adapter.json adapter.safetensors run.jsonl; do
    [ -s a/$file ] || fail "no a/$file"
done
say "$(wc -l <a/run.jsonl | tr -d ' ') epochs in run.jsonl"
m adapt --on set1 --out a --epochs 3
for method in pfe pcme pcmepp; do
    must adapt --on set1 --out $method --method $method --epochs 1 --batch 4 --hidden 8 -q
done
must adapt --on set1 --out released --released --epochs 1 --batch 4 --hidden 8 -q
for adapter in a pfe pcme pcmepp released; do
    must predict $adapter set1 --out $adapter.csv -q
    must predict $adapter set1 --out again.csv -q --force
    cmp -s $adapter.csv again.csv || fail "predict $adapter is not the same twice"
    ! grep -qi nan $adapter.csv || fail "nan in $adapter.csv"
    say "$adapter: $(wc -l <$adapter.csv | tr -d ' ') lines"
done
say "$(head -n 1 a.csv)"
must predict a set1 --out b.csv --arrays arrays -q
ls arrays >.names
say $(cat .names)
start predict a set1 --out c.csv --arrays arrays -q >.out 2>.err && fail "predict replaced arrays without --force"
absent c.csv
must predict a set1 --out c.csv --arrays arrays --force -q
must sample a set1 --row 2 -n 3 --region near --out near.npy
say "$(wc -l <.out | tr -d ' ') draws"
must sample a set1 --row 2 -n 5 --out strip.npy --strip strip.svg -q
grep -q "draws in the tail" strip.svg || fail "the strip does not say which draws it shows"
m sample a set1 --row 2 -n 5 --out strip2.npy --strip strip.svg
absent strip2.npy
must likelihood a set1 --row 2 --out l.csv --figure l.svg --json
grep -q "other pictures" l.tsv && grep -q "^own" l.tsv || fail "the histogram's table has not both sides and the own item"
grep -q '"before_own":' .out || fail "no rank of the own item"
say "$(wc -l <l.csv | tr -d ' ') lines"
m likelihood a set1 --row 2 --out both.tsv --figure both.svg
absent both.tsv
echo image_row,text_row >nopairs.csv
must likelihood a --images set1/image.npy --texts set1/text.npy --pairs nopairs.csv --row 2 -k 0
say "$(cut -d';' -f2 <.out)"
m predict set1 set1 --out x.csv
m sample a set1 --row 99 --out far.npy
absent far.npy
for command in "predict a set2 --out x.csv" "sample a set2 --row 1 --out x.npy" "likelihood a set2 --row 1 --out x.csv"; do
    start $command >.out 2>.err
    code=$?
    [ $code = 3 ] || fail "$command: exit $code, expected 3: $(cat .err)"
    grep -q model1 .err && grep -q model2 .err || fail "$command: does not name both: $(cat .err)"
done
absent x.csv
absent x.npy
must predict a set2 --out x.csv --force
