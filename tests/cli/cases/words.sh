# quick: ideal words of twelve vectors: the fit, its scores as text and JSON, missing cells, what is refused.
"$helper" words . || fail "helper words"
say() { printf '%s\n' "$*" >>"$transcript"; }
w="--images x.npy --texts x.npy --factors f.csv --columns colour,thing"
m words fit $w --side text --out W -q
[ -s W/words.json ] && [ -s W/words.safetensors ] || fail "no files in W"
m words fit $w --side text --out W -q
must words fit $w --side text --out W --force --json -q
grep -qF '"missing_cells": 0' .out || fail "missing_cells: $(cat .out)"
m words score $w --raw --permutations 99 -q
must words score $w --raw --permutations 99 --json -q
for want in '"r2": ' '"r2_adjusted": ' '"r2_held_out": ' '"r2_null": 0.4545' '"p_value": 0.0' '"factors": [{"name": "colour", "levels": 3' \
    '"blocks": [{"factors": ["colour"], "df": 2.0' '"missing_cells": 0' '"rank": 6' '"components": 1'; do
    grep -qF -- "$want" .out || fail "no $want in $(cat .out)"
done
mv .out first.json
OMP_NUM_THREADS=1 must words score $w --raw --permutations 99 --json -q
cmp -s .out first.json || fail "not the same twice"
grep -v ',green,b' f.csv >holes.csv
w="--images x.npy --texts x.npy --factors holes.csv --columns colour,thing"
must words score $w --raw --permutations 9 --json -q
grep -qF '"missing_cells": 1' .out || fail "missing cell"
grep -qF '"blocks": null' .out || fail "blocks of a grid with holes"
must words score $w --raw --method marginal --permutations 0 --json -q
grep -qF '"method": "marginal"' .out || fail "marginal"
printf 'row,colour,thing\n0,red,a\n1,red,b\n6,blue,c\n7,blue,d\n' >apart.csv
m words fit --images x.npy --texts x.npy --factors apart.csv --columns colour,thing --out W2 -q
m words score $w --method marginal --ridge 1 -q
m words score --images x.npy --texts x.npy --factors f.csv --columns colour,things -q
m words score --images x.npy --texts x.npy --columns colour,thing -q
m words score --images x.npy --texts x.npy --factors f.csv -q
m words fit $w -q
absent W3
