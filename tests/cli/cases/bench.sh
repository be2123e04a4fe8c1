# The benchmark's table has the keys that others read, and a peer's times give a ratio.
tiny model
echo '{"encode images": 1000.0}' >peer.json
must bench clip --model model --batch 4 --runs 2 --peer peer.json --json
for key in name median_seconds spread rate unit ceiling_share peer ratio; do
    grep -q "\"$key\":" .out || fail "no $key"
done
grep -q '"peer": 1000.0, "ratio": [0-9]' .out || fail "no ratio"
m bench
