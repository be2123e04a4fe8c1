# kill -9 in the middle, --resume, and the weights are those of the run that nobody disturbed, bit for bit.
tiny model
options="--model model --data csv:pics/data.csv --augment --epochs 60 --batch 4 --threads 1 --lr 1e-3 --warmup 5 --average 0.9 --seed 7 --checkpoint-every 10"
must train $options --out whole
want=$(sha256sum <whole/model/model.safetensors)
"$program" train $options --out killed >.out 2>.err &
pid=$!
echo $pid >>.pids
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40; do
    ls killed/checkpoints/*/checkpoint.json >/dev/null 2>&1 && break
    sleep 0.02
done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
killed=$?
: >.pids
[ ! -e killed/model/model.safetensors ] || say "(the run had ended before it was killed)"
[ $killed -eq 137 ] || say "(not killed: $killed)"
# the options come from the run folder
must train --out killed --resume --threads 1
[ "$(sha256sum <killed/model/model.safetensors)" = "$want" ] || fail "the resumed weights differ"
grep -q '"event":"end","step":180' killed/run.jsonl || fail "steps"
# Ctrl-C keeps the work too, and says how to go on
"$program" train $options --out stopped >.out 2>.err &
pid=$!
echo $pid >>.pids
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40; do
    [ -s stopped/run.jsonl ] && break
    sleep 0.02
done
kill -INT $pid
wait $pid
say "stopped: $?"
: >.pids
grep -c -- "to go on: meridian train .* --out stopped --resume" .err >>"$transcript"
[ -s stopped/model/model.safetensors ] || fail "no model after Ctrl-C"
must train --out stopped --resume
[ "$(sha256sum <stopped/model/model.safetensors)" = "$want" ] || fail "the weights after Ctrl-C differ"
# another option is refused, the same run again does nothing: the log still ends with a loss
must train --out stopped --resume --json
grep -q '"final_loss": null.*"why": "no step was left to do"' .out || fail "nothing to do: $(cat .out)"
tail -n 1 stopped/run.jsonl | grep -q '"event":"end","step":180,.*"loss":[0-9]' || fail "the last line: $(tail -n 1 stopped/run.jsonl)"
m train --out stopped --resume --lr 2e-3
