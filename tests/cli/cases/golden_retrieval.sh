# The golden measures through the command line, vectors given as npy files.
golden retrieval_metrics
"$helper" npy "$G/synthetic160.safetensors" image i.npy || fail "image"
"$helper" npy "$G/synthetic160.safetensors" text t.npy || fail "text"
must eval retrieval --images i.npy --texts t.npy --bootstrap 0 --temperature 0.01 --json
for want in '"1": 0.5, "5": 0.825, "10": 0.90625' '"mrr": 0.63432535' '"ece": 0.42224519' '"ece_equal_mass": 0.42224519'; do
    grep -qF -- "$want" .out || fail "no $want"
done
must eval retrieval --images i.npy --texts t.npy --bootstrap 20 --json
printf 'image_row,text_row\n0,1\n' >p.csv
m eval retrieval --images i.npy --texts t.npy --pairs p.csv --bootstrap 0
printf 'image_row,text_row\n0,160\n' >p.csv
m eval retrieval --images i.npy --texts t.npy --pairs p.csv --bootstrap 0
m eval geometry --images i.npy
