# eval uncertainty through the command line: splits and classes from a table, one score, figures, what is refused.
golden retrieval_metrics
"$helper" npy "$G/synthetic160.safetensors" image i.npy || fail "image"
"$helper" npy "$G/synthetic160.safetensors" text t.npy || fail "text"
awk 'BEGIN { print "row,split,kind"; split("train,val,test", w, ","); for (i = 0; i < 160; i++) print i "," w[i % 3 + 1] ",k" i % 4 }' >rows.csv
set_words='--images i.npy --texts t.npy --bootstrap 20'
m eval uncertainty $set_words --rows rows.csv --split-column split --figure figs
ls figs >.out && [ "$(cat .out | tr "\n" " ")" = "levels.svg levels.tsv risk.svg risk.tsv " ] || fail "figures"
must eval uncertainty $set_words --rows rows.csv --split-column split --score max-p --json
for want in '"n_queries": 53' '"n_validation": 53' '"n_reference": 54' '"temperature_from": "validation queries"' '"neg_s_r2": ' '"recall_at_1": '; do
    grep -qF -- "$want" .out || fail "no $want"
done
must eval uncertainty $set_words --rows rows.csv --hit-column kind --score cosine --json
grep -qF '"hit_column": "kind"' .out || fail "no hit column"
m eval uncertainty $set_words --rows rows.csv --split-column split --figure figs
m eval uncertainty $set_words --score max-q
m eval uncertainty $set_words --score ''
m eval uncertainty $set_words --rows rows.csv
echo image_row,text_row >none.csv
m eval uncertainty $set_words --pairs none.csv --score cosine
m eval uncertainty $set_words --rows rows.csv --split-column part
m eval uncertainty $set_words --rows rows.csv --split-column kind
m eval uncertainty $set_words --split-column split
m eval uncertainty $set_words --split-column split --reference other
m eval uncertainty $set_words --reference nosuch
