# quick: Ctrl-C during an encoding: exit 130, and neither a set nor a temporary stays.
pictures pics 400
tiny model
"$program" encode --model model --data csv:pics/data.csv --batch 1 --out set >.out 2>.err &
pid=$!
echo $pid >>.pids
i=0
while [ $i -lt 200 ] && ! grep -q '^pictures' .err; do
    sleep 0.02
    i=$((i + 1))
done
kill -INT $pid 2>/dev/null
wait $pid
say "= $?"
: >.pids
talk .err
absent set
# With finished shards it keeps them and says how to go on, whichever signal it was; what follows is the set of an undisturbed run.
options="--model model --data csv:pics/data.csv --batch 2 --shard-rows 8 --threads 1"
must encode $options --out whole
(cd whole && sha256sum *) >.want
stopped=0 same=0
for signal in INT TERM INT TERM INT TERM; do
    rm -rf set
    "$program" encode $options --out set >.out 2>.err &
    pid=$!
    echo $pid >>.pids
    i=0
    while [ $i -lt 400 ] && [ ! -e set.partial/image-00000$stopped ]; do
        sleep 0.01
        i=$((i + 1))
    done
    kill -$signal $pid 2>/dev/null
    wait $pid
    code=$?
    : >.pids
    if [ $code = 0 ]; then # it was quicker
        say "(ended before SIG$signal)"
    else
        [ $code = 130 ] || fail "exit $code after SIG$signal: $(cat .err)"
        grep -q 'of 103 shards are finished and stay in set.partial' .err || fail "what stays: $(cat .err)"
        grep -q "to go on: meridian encode $options --out set" .err || fail "how to go on: $(cat .err)"
        absent set
        [ -z "$(find set.partial -name '*.tmp*')" ] || fail "a temporary stays"
        stopped=$((stopped + 1))
        must encode $options --out set --resume
        [ ! -e set.partial ] || fail "set.partial stays"
    fi
    (cd set && sha256sum *) | cmp -s - .want && same=$((same + 1))
done
say "$stopped stopped, $same finished bit-equal"
