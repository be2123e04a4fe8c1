# quick: GroVE from a set to its answers; the same twice; what it does not take is refused.
pictures pics 12
tiny model1 1
must encode --model model1 --data csv:pics/data.csv --out set1
OMP_NUM_THREADS=1
export OMP_NUM_THREADS
must adapt --on set1 --out a --method grove --latent 2 --inducing 6 --steps 12 --batch 8 -q --json
grep -q '"steps": 12' .out || fail "not 12 steps: $(cat .out)"
for file in adapter.json adapter.safetensors run.jsonl; do
    [ -s a/$file ] || fail "no a/$file"
done
say "$(wc -l <a/run.jsonl | tr -d ' ') lines in run.jsonl"
must adapt --on set1 --out b --method grove --latent 2 --inducing 6 --steps 12 --batch 8 --threads 2 -q
cmp -s a/adapter.safetensors b/adapter.safetensors || fail "two threads give another adapter than one"
must predict a set1 --out a.csv -q
must predict b set1 --out b.csv -q
cmp -s a.csv b.csv || fail "predict is not the same twice"
! grep -qi nan a.csv || fail "nan in a.csv"
say "$(wc -l <a.csv | tr -d ' ') lines"
say "$(head -n 1 a.csv)"
must sample a set1 --row 2 -n 3 --region tail --out tail.npy -q
must likelihood a set1 --row 2 --out l.csv --json
grep -q '"before_own":' .out || fail "no rank of the own item"
must eval uncertainty set1 --adapter a --bootstrap 0 --json
grep -q '"adapter":' .out || fail "no score of the adapter"
m adapt --on set1 --out c --method grove --kernel cosine
m adapt --on set1 --out c --method grove --latent 0
m adapt --on set1 --out c --method grove --from a/adapter.safetensors
m adapt --on set1 --out c --method grove --released
absent c
