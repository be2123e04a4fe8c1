# quick: heads over a set's vectors and through convert, rows to label in rounds, the game on a set whose pairs are known.
pictures pics 12
tiny model1 1
tiny model2 2
must encode --model model1 --data csv:pics/data.csv --out set1
must encode --model model2 --data csv:pics/data.csv --out set2
OMP_NUM_THREADS=1
export OMP_NUM_THREADS
m train --on set1
m train --on set1 --model model1 --out run
m train --on set1 --head cubic --out run
m train --on set1 --train-rows nowhere.txt --out run
m train --train-rows rows.txt --out run
absent run
must train --on set1 --head linear --epochs 3 --batch 4 --out run --write-set mapped --threads 1 -q --json
for key in final_loss steps pairs_per_second best; do
    grep -q "\"$key\":" .out || fail "no $key in $(cat .out)"
done
for file in head.json head.safetensors run.jsonl; do
    [ -s run/$file ] || fail "no run/$file"
done
grep -q '"step": ' run/run.jsonl && grep -q '"loss": ' run/run.jsonl || fail "run.jsonl: $(cat run/run.jsonl)"
m train --on set1 --out run
must convert set1 --head run --out again
cmp -s mapped/image.npy again/image.npy && cmp -s mapped/text.npy again/text.npy || fail "convert --head is not --write-set"
must eval retrieval mapped
start search mapped --model model1 --text dot >.out 2>.err && fail "the encoder's own vectors were looked for among mapped ones"
start convert set2 --head run --out x >.out 2>.err
[ $? = 3 ] || fail "heads took another model's set: $(cat .err)"
absent x
m convert model1 --to hf --head run --out x
m train --on set1 --head mlp --from run --out mlp
m train --on set1 --head linear --hidden 5 --out mlp
m train --on set1 --out both --write-set both
absent both
m train --on set1 --split-column role --train-rows rows.txt --out mlp
m train --on set1 --split-column role --validation-rows rows.txt --out mlp
must inspect run --json
grep -q '"kind": "heads"' .out || fail "$(cat .out)"
must train --on set1 --head mlp --hidden 5 --epochs 1 --out mlp -q
must train --on set1 --from run --epochs 1 --out more -q
m train --on set1 --head mlp --hidden 6 --from mlp --out more6
must train --on set1 --from run --epochs 1 --lr 1 --out worse -q
grep -q 'heads change nothing' .out && fail "heads that change something: $(cat .out)"
# choosing
m select set1 --budget 3 --out chosen.csv
m select set1 --strategy luck
m select set1 --strategy uncertainty
must select set1 --strategy coreset --budget 3 --out round1.csv
head -n 1 round1.csv >.head
say "$(cat .head), $(wc -l <round1.csv | tr -d ' ') lines"
must select set1 --strategy coreset --budget 3 --labelled round1.csv --out round2.csv --json
grep -q '"n_labelled": 3' .out || fail "$(cat .out)"
must train --on set1 --train-rows round1.csv --epochs 1 --out chosen -q --json
grep -q '"pairs": 6,' .out || fail "not trained on what was chosen: $(cat .out)"
cut -d, -f1 round1.csv | sed 1d >.one
cut -d, -f1 round2.csv | sed 1d >.two
cat .one .two | sort | uniq -d >.both
[ -s .both ] && fail "chosen twice: $(cat .both)"
printf '2\n5\n7\n' >pool.txt
must select set1 --strategy random --rows pool.txt --budget 2 --json
must select set1 --strategy margin --rows pool.txt --labelled round1.csv round2.csv --budget 1 --classes set1 --json
m select set1 --strategy random --rows pool.txt --labelled pool.txt
printf '99\n' >far.txt
m select set1 --strategy random --rows far.txt
must adapt --on set1 --method pfe --out a --epochs 1 --batch 4 --hidden 8 -q
for strategy in uncertainty bald epig; do
    must select set1 --strategy $strategy --adapter a --budget 2 --side text -q
done
start select set2 --strategy uncertainty --adapter a --out x.csv >.out 2>.err
[ $? = 3 ] || fail "another model's adapter was asked: $(cat .err)"
absent x.csv
m select set1 --strategy random --figure f.svg
# what would change nothing is refused
m select set1 --strategy coreset --adapter a
m select set1 --strategy bald --adapter a --classes set1
m select set1 --strategy bald --adapter a --target set1
m select set1 --strategy margin --temperature 2
m select set1 --strategy typical --spread 2
m select set1 --strategy random --rounds 7
m select set1 --strategy random --lr 0.1
m select set1 --simulate --adapter a --adapter-method pfe
must inspect a --json
grep -q '"kind": "adapter", .*"method": "pfe"' .out || fail "$(cat .out)"
m select set1 --simulate --rows pool.txt
# the game
{
    echo row,part
    for i in 0 1 2 3 4 5; do echo $i,train; done
    for i in 6 7 8; do echo $i,val; done
    for i in 9 10 11; do echo $i,test; done
} >parts.csv
must select set1 --simulate --table parts.csv --split-column part --rounds 1 --budget 1 --initial 2 --seeds 2 --epochs 1 --threads 1 --figure active.svg --out curves.tsv --json -q
for key in strategies area gain_over_random all_labels labelled; do
    grep -q "\"$key\":" .out || fail "no $key in $(cat .out)"
done
say "$(head -n 1 curves.tsv | tr '\t' ' ')"
grep -q '<svg' active.svg || fail "no figure"
[ -s active.tsv ] || fail "no numbers beside the figure"
m select set1 --simulate --table parts.csv --split-column part --budget 100 --seeds 1 -q
m select set1 --simulate --figure active.svg
m select set1 --simulate --figure same.svg --out same.tsv
m select set1 --simulate --split-column nothing
start select set2 --simulate --table parts.csv --split-column part --adapter a --strategy uncertainty --rounds 1 --budget 1 --initial 2 --seeds 1 -q >.out 2>.err
[ $? = 3 ] || fail "another model's adapter played: $(cat .err)"
