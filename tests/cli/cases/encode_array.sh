# quick: job arrays. Eight processes at once, in any order, some killed, some started twice: no row lost, none doubled, and the set
# is that of one process, bit for bit.
pictures pics 64
tiny model
printf 'no picture at all' >pics/p7.png
options="--model model --data csv:pics/data.csv --shard-rows 4 --batch 4 --threads 1"
sums() { (cd "$1" && sha256sum *); }
must encode $options --out set
sums set >.want
rows() { tail -n +2 "set/$1" | cut -d, -f1 | sort -n | uniq | wc -l; }
part() { "$program" encode $options --shard "$1" --out set --json >".out$2" 2>".err$2"; }
rounds=0 same=0
for round in 1 2 3 4 5 6; do
    rm -rf set
    pids=
    for i in 5 2 8 1 7 3 6 4; do
        part $i/8 $i &
        pids="$pids $!"
        echo $! >>.pids
    done
    case $round in # one, and then two, die in the middle
    [1-4]*) sleep 0.0$((round + 3)); for p in $(echo $pids | cut -d' ' -f$round,$((round + 3))); do kill -9 "$p" 2>/dev/null; done ;;
    esac
    wait
    : >.pids
    # whoever died is started again; the same part twice at once is harmless
    part 5/8 9 & part 5/8 10 & part 2/8 11 & part 8/8 12 & part 1/8 13 & part 7/8 14 & part 3/8 15 &
    wait
    part 6/8 16 || fail "part 6/8: $(cat .err16)"
    part 4/8 17 || fail "part 4/8: $(cat .err17)"
    rounds=$((rounds + 1))
    [ "$(rows images.csv)" = 63 ] || fail "rows of images.csv: $(rows images.csv)"
    sums set | cmp -s - .want && same=$((same + 1))
    [ ! -e set.partial ] || fail "set.partial stays in round $round"
    absent nothing
done
say "8 processes, $rounds rounds, $same sets bit-equal"
# parts alone, one after the other: only the last one writes the set; the parts count their own
rm -rf set
m encode $options --out set --shard 2/3 --json -q
m encode $options --out set --shard 1/3 -q
m encode $options --out set --shard 2/3 -q
[ ! -e set ] || fail "the set is there too early"
m encode $options --out set --shard 3/3 -q
sums set | cmp - .want || fail "three parts"
# a part that comes late, or again, finds its work done; without --shard an existing output is refused as ever
m encode $options --out set --shard 3/3 -q
m encode $options --out set --resume --json -q
m encode $options --out set -q
# one process without --shard finishes what parts have begun; another number of parts may go on
rm -rf set
must encode $options --out set --shard 2/3
must encode $options --out set --shard 4/5
[ -e set.partial ] || fail "no work folder"
m encode $options --out set -q
sums set | cmp - .want || fail "finished alone"
# a process alone and parts do not mix while at work, and two alone neither: the second is told who is there
must encode $options --out other --shard 1/9
if command -v flock >/dev/null; then
    flock other.partial/lock "$program" encode $options --out other -q >.out 2>.err
    say "= $?"
    talk .err
    flock other.partial/lock "$program" encode $options --out other --shard 2/9 -q >.out 2>.err
    say "= $?"
    talk .err
else
    say "= 4"
    say "! error: other.partial: another process is at work here (no flock program)"
    say "= 4"
    say "! error: other.partial: another process is at work here (no flock program)"
fi
m encode $options --out set --shard 0/3
m encode $options --out set --shard 4/3
m encode $options --out set --shard 1/3x
m encode $options --out set --resume --force
printf '8 processes, %d rounds with kills, %d sets bit-equal\n' $rounds $same
