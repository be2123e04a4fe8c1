# Ctrl-C during an encoding: exit 130, and neither a set nor a temporary stays.
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
