# The main job on a tiny model: init, train, encode, measure, draw, search.
pictures pics 18
m init "$here/tiny.json" --data csv:pics/data.csv --vocab-size 540 --seed 1 --out model
m train --model model --data csv:pics/data.csv --out run --epochs 2 --batch 6 --lr 1e-3 --seed 3 --json
[ -s run/model/model.safetensors ] && [ -s run/config.json ] || fail "run folder"
tail -n 1 run/run.jsonl | grep -q '"step":6' || fail "last event"
tail -n 1 run/run.jsonl | grep -q '"loss":' || fail "last event"
for key in version engine dtype seed data_fingerprint model_fingerprint; do
    grep -q "\"$key\":" run/config.json || fail "config.json has no $key"
done
m encode --model run --data csv:pics/data.csv --out set --json
m encode --model run --data csv:pics/data.csv --out half --dtype-out float16 --batch 5 --loader-threads 3
m eval retrieval set --bootstrap 50
m eval geometry set --bootstrap 50
m eval retrieval set --bootstrap 50 --json
m eval geometry set --bootstrap 50 --json
m search set --text "red square" -k 2 --out grid.html
[ -s grid.html ] || fail "grid.html"
m search set --image pics/p3.png -k 2 --side text --json
m search set --row 5 -k 1
m report set --out report --title "A tiny space"
for f in index.html report.json figures/clouds.svg figures/clouds.tsv; do
    [ -s "report/$f" ] || fail "report/$f"
done
m plot recall set --out recall.svg --tsv recall.tsv
[ -s recall.svg ] && [ -s recall.tsv ] || fail "plot"
m data csv:pics/data.csv -n 1
