# quick: kill -9 at forty random instants of an encoding, ten of them twice: the same command finishes, every file of the set has the
# SHA-256 of an undisturbed run, finished shards are not made again, and nothing is left beside the set.
pictures pics 60
tiny model
cp pics/p3.png pics/good.png
printf 'no picture at all' >pics/p7.png
options="--model model --data csv:pics/data.csv --shard-rows 4 --batch 2 --threads 1 --json"
encode() { "$program" encode $options --out set >.out 2>.err; }
sums() { (cd "$1" && sha256sum *); }
encode || fail "the undisturbed run"
sums set >.want
[ -s set/failed.tsv ] || fail "no failed.tsv"
length=
for i in 1 2 3; do
    rm -rf set
    start=$(date +%s%N)
    encode
    end=$(date +%s%N)
    sums set | cmp -s - .want || fail "two undisturbed runs differ"
    [ -n "$length" ] && [ $length -le $(((end - start) / 1000)) ] || length=$(((end - start) / 1000))
done
awk -v n=40 -v us=$length 'BEGIN { srand(11); for (i = 0; i < n; i++) printf "%.6f\n", us * (0.2 + 0.8 * rand()) / 1e6 }' >.instants
kills=0 twice=0 inside=0 same=0
while read -r instant; do
    rm -rf set
    for again in 1 2; do
        [ $again = 1 ] || [ $((kills % 4)) = 1 ] || continue
        "$program" encode $options --out set >.out 2>.err &
        pid=$!
        echo $pid >.pids
        # every other time the clock starts when the work folder appears: a start takes longer than the work
        [ $((kills % 2)) = 0 ] || while [ ! -e set.partial/plan.json ] && kill -0 $pid 2>/dev/null; do sleep 0.002; done
        [ $((kills % 2)) = 0 ] && sleep "$instant" || sleep "$(echo "$instant" | awk '{ print $1 / 6 }')"
        kill -9 $pid 2>/dev/null
        wait $pid 2>/dev/null
        : >.pids
        [ $again = 1 ] || twice=$((twice + 1))
    done
    kills=$((kills + 1))
    finished=$(ls -d set.partial/image-??????/ set.partial/text-??????/ 2>/dev/null | wc -l)
    [ ! -e set.partial ] || inside=$((inside + 1))
    if [ -e set ] && [ ! -e set.partial ]; then # it had ended
        sums set | cmp -s - .want && same=$((same + 1))
        continue
    fi
    encode || { cat .err >&2; fail "the command did not finish after a kill at $instant s"; }
    if [ "$finished" -gt 0 ] && grep -q '"n_shards_made"' .out; then
        made=$(sed 's/.*"n_shards_made": \([0-9]*\).*/\1/' .out) all=$(sed 's/.*"n_shards": \([0-9]*\).*/\1/' .out)
        [ "$made" = 0 ] || [ $((made + finished)) = "$all" ] || fail "$finished shards stood, $made of $all were made again"
    fi
    sums set | cmp -s - .want && same=$((same + 1))
    [ ! -e set.partial ] || fail "set.partial stays"
    absent nothing
done <.instants
say "$kills kills ($twice twice), $same resumed bit-equal"
[ $inside -ge 5 ] || fail "only $inside kills hit the work: not much of a test"
printf '%d kills, %d twice, %d in the work folder, %d resumed bit-equal\n' $kills $twice $inside $same
