# quick: what is printed and refused before the work, what may not change, shards that are damaged or somebody else's.
pictures pics 24
tiny model
tiny second 2
options="--data csv:pics/data.csv --shard-rows 4 --batch 4 --threads 1"
sums() { (cd "$1" && sha256sum *); }
must encode --model model $options --out set
grep '^plan: ' .err | sed 's/about [0-9]* MiB/about N MiB/' >>"$transcript"
sums set >.want
# a plan that needs more than is allowed: exit 7, nothing begun
"$program" encode --model model $options --out small --memory 10 >.out 2>.err
say "= $?"
sed -n 's/[0-9][0-9]* MiB, --memory/N MiB, --memory/;s/^error/! error/p' .err >>"$transcript"
absent small
[ ! -e small.partial ] || fail "small.partial"
m encode --model model $options --out small --memory 4000 -q
# limits on addresses around the plan: all or nothing
levels=0 ran=0
for mb in 450 500 550 600 700 800 900 1000 1200 1500 2000; do
    run() { (ulimit -v $((mb * 1024)); OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 timeout 20 "$program" "$@") >.out 2>.err; }
    run --version 2>/dev/null || continue # a program that cannot even start there: a sanitizer's, or one of many cores
    run encode --model model $options --out limited
    code=$?
    levels=$((levels + 1))
    [ $code = 0 ] || [ $code = 7 ] || fail "ulimit -v of $mb MiB: exit $code: $(cat .err)"
    [ $code = 0 ] && ran=$((ran + 1)) || absent limited
    [ ! -e limited.partial ] || fail "limited.partial"
    rm -rf limited
done
printf '%d limits on addresses: %d ran, %d exits with 7 before the work\n' $levels $ran $((levels - ran))
# begun, then asked for with something else: refused and named; --force starts anew
begun() { rm -rf part part.partial; must encode --model "${1:-model}" $options --out part --shard 1/3; }
begun
m encode --model second $options --out part -q
m encode --model model $options --out part --batch 8 --dtype-out float16 -q
sed 's/red/RED/' pics/data.csv >pics/other.csv
m encode --model model --data csv:pics/other.csv --shard-rows 4 --batch 4 --threads 1 --out part -q
cp pics/data.csv .data && sed -i 's/number 3/number 4/' pics/data.csv
m encode --model model $options --out part -q
cp .data pics/data.csv
m encode --model second $options --out part --force -q
begun
m encode --model model $options --out part --force -q
sums part | sed 's|part/|set/|' | cmp - .want || fail "force went on with equal options"
# a damaged shard is found by its checksum and made again: every file of it, one bit each
must encode --model model $options --out part --force --shard 1/1
for file in image-000000/vectors.npy image-000000/rows.csv image-000000/failed.tsv image-000000/piece.json text-000000/vectors.npy; do
    rm -rf part part.partial
    must encode --model model $options --out part --shard 1/7
    must encode --model model $options --out part --shard 7/7
    [ -s part.partial/$file ] || fail "no $file"
    size=$(wc -c <part.partial/$file)
    byte=$(od -An -tu1 -j $((size - 3)) -N 1 part.partial/$file)
    # shellcheck disable=SC2059
    printf "\\$(printf %o $((byte ^ 1)))" | dd of=part.partial/$file bs=1 seek=$((size - 3)) conv=notrunc 2>/dev/null
    must encode --model model $options --out part
    [ "$(grep -c 'made again' .err)" = 1 ] || fail "$file: $(cat .err)"
    sums part | cmp -s - .want || fail "$file: another set"
done
say "damaged: 5 files, 5 made again"
# a whole shard of another model, put there by hand
begun second
mv part.partial other.partial
begun
rm -r part.partial/image-000000
cp -r other.partial/image-000000 part.partial/
m encode --model model $options --out part -q
"$program" encode --model model $options --out part --force >.out 2>.err
say "= $?"
grep -c 'made again' .err >>"$transcript"
sums part | cmp -s - .want || fail "after --force"
# a folder of that name that is somebody else's is not touched
rm -rf part part.partial
mkdir part.partial && echo mine >part.partial/notes.txt
m encode --model model $options --out part -q
[ "$(cat part.partial/notes.txt)" = mine ] || fail "notes.txt"
rm -r part.partial
# a damaged plan
begun
echo '{' >part.partial/plan.json
m encode --model model $options --out part -q
must encode --model model $options --out part --force
sums part | cmp -s - .want || fail "after a damaged plan"
# no picture can be read: nothing stays, so that the next try reads them again
mkdir bad && cp pics/data.csv bad/ && for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23; do echo x >bad/p$i.png; done
"$program" encode --model model --data csv:bad/data.csv --shard-rows 4 --out none -q >.out 2>.err
say "= $?"
grep 'none of the' .err >>"$transcript"
absent none
[ ! -e none.partial ] || fail "none.partial"
# rows that the data lost and pictures that cannot be decoded stand in one list
mkdir some && cp pics/p0.png pics/p1.png pics/p2.png some/ && echo x >some/p3.png
printf 'filepath,caption\np0.png,one\np1.png,two\ngone.png,three\np3.png,four\np2.png,five\n' >some/data.csv
must encode --model model --data csv:some/data.csv --out lossy --json
cat lossy/failed.tsv >>"$transcript"
grep -o '^  "n_[a-z]*": [0-9]*' lossy/set.json | sort >>"$transcript"
