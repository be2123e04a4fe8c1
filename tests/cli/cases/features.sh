# quick: the activations before the projections, and BayesVLM over them: encoded in one piece and in shards with a kill between, in
# halves, converted; fitted, predicted, measured; and what a set without them and a model without such a product say.
pictures pics 12
tiny model
options="--model model --data csv:pics/data.csv --batch 4 --threads 1"
must encode $options --shard-rows 5 --out plain
must encode $options --shard-rows 5 --features --out set
OMP_NUM_THREADS=1
export OMP_NUM_THREADS
for f in image.npy text.npy images.csv texts.csv pairs.csv; do cmp -s plain/$f set/$f || fail "$f is another one with --features"; done
for f in image_features image_lengths text_features text_lengths; do [ -s set/$f.npy ] || fail "no $f.npy"; absent plain/$f.npy; done
# shards that were made with features serve a set without, not the reverse
must encode $options --shard-rows 5 --features --shard 1/2 --out parts
must encode $options --shard-rows 5 --features --shard 2/2 --out parts
for f in set.json image_features.npy text_lengths.npy; do cmp -s set/$f parts/$f || fail "$f of two parts is another one"; done
must encode $options --shard-rows 5 --shard 1/2 --out late
m encode $options --shard-rows 5 --features --shard 2/2 --out late
rm -rf late.partial late
printf 'x' >>set/text_lengths.npy
"$program" inspect set >.out 2>.err
[ $? = 5 ] && grep -q 'text_lengths.npy: SHA-256' .err || fail "a changed file is not seen: $(cat .err)"
must encode $options --shard-rows 5 --features --out set --force
must encode $options --features --dtype-out float16 --out half
m encode --model model --features --text "a dog"
# the method
must adapt --method bayesvlm --on set --out bayes
must adapt --method bayesvlm --on half --out bayes_half
must predict bayes set --out u.csv
[ "$(wc -l <u.csv)" = "$(( $(wc -l <set/images.csv) + $(wc -l <set/texts.csv) - 1 ))" ] || fail "u.csv: another number of lines"
must eval uncertainty set --adapter bayes --probit --score adapter,adapter-entropy,adapter-max-p
grep -q '^adapter-entropy' .out || fail "no adapter-entropy: $(cat .out)"
m eval uncertainty set --probit
must sample bayes set --side text --row 0 --draws 3 --out drawn.npy
m adapt --method bayesvlm --on plain --out no
m predict bayes plain --out no.csv
absent no
must convert set --to set --out copy
must predict bayes copy --out u2.csv
cmp -s u.csv u2.csv || fail "a copy of the set says something else"
must convert set --to clip-retrieval --out clip
grep -q 'activations before the projections are left out' .err || fail "nothing said of what is lost: $(cat .err)"
