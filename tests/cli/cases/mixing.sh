# quick: two fingerprints never mix: every ordered pair of models, at every command that takes two. Exit 3, both named, nothing
# written; --force stamps what comes out. A copy of a model under another name is the same model.
pictures pics 12
n_models=4
for i in 1 2 3 4; do
    tiny model$i $i
    must encode --model model$i --data csv:pics/data.csv --out set$i
done
print() { sed -n 's/.*"fingerprint": "\([0-9a-f]\{16\}\).*/\1/p' "set$1/set.json" | head -n 1; }
refused=0 stamped=0
refuse() { # A B ARGS
    a=$1 b=$2
    shift 2
    start "$@" -q >.out 2>.err
    code=$?
    [ $code = 3 ] || fail "meridian $*: exit $code, expected 3: $(cat .err)"
    for word in "\"model$a\"" "\"model$b\"" "$(print $a)" "$(print $b)"; do
        grep -q "$word" .err || fail "meridian $*: does not name $word: $(cat .err)"
    done
    [ ! -s .out ] || fail "meridian $*: has an answer: $(cat .out)"
    absent out
    refused=$((refused + 1))
}
stamp() { # A B FILE ARGS: FILE (or .out) names both
    a=$1 b=$2 file=$3
    shift 3
    rm -rf out
    start "$@" -q --force >.out 2>.err || fail "meridian $* --force: $(cat .err)"
    grep -q "mixed" "$file" && grep -q "model$a" "$file" && grep -q "model$b" "$file" || fail "meridian $* --force: no stamp in $file"
    grep -q "warning.*mixed: .*$(print $a).*$(print $b)" .err || fail "meridian $* --force: no warning: $(cat .err)"
    stamped=$((stamped + 1))
    rm -rf out
}
for a in 1 2 3 4; do
    for b in 1 2 3 4; do
        [ $a != $b ] || continue
        npy="--images set$a/image.npy --texts set$b/text.npy --pairs set$a/pairs.csv"
        refuse $a $b search set$a --text red --model model$b
        refuse $a $b search set$a --image pics/p1.png --model model$b --out out
        refuse $a $b eval retrieval $npy --bootstrap 0 --json
        refuse $a $b eval geometry $npy --bootstrap 0
        refuse $a $b report $npy --bootstrap 0 --out out
        refuse $a $b plot clouds $npy --out out
        # unfinished work of another model, and a shard of another model among our own
        must encode --model model$a --data csv:pics/data.csv --shard-rows 4 --shard 1/2 --out work
        refuse $a $b encode --model model$b --data csv:pics/data.csv --shard-rows 4 --out work
        mv work.partial other.partial
        must encode --model model$b --data csv:pics/data.csv --shard-rows 4 --shard 1/2 --out work
        rm -r work.partial/image-000000
        cp -r other.partial/image-000000 work.partial/
        refuse $a $b encode --model model$b --data csv:pics/data.csv --shard-rows 4 --out work
        refuse $a $b encode --model model$b --data csv:pics/data.csv --shard-rows 4 --shard 1/4 --out work
        rm -r work.partial other.partial
        [ $b = $((a % n_models + 1)) ] || continue
        stamp $a $b .out search set$a --text red --model model$b --json
        stamp $a $b .out search set$a --text red --model model$b
        stamp $a $b out search set$a --text red --model model$b --out out
        stamp $a $b .out eval retrieval $npy --bootstrap 0 --json
        stamp $a $b .out eval geometry $npy --bootstrap 0
        stamp $a $b out/report.json report $npy --bootstrap 0 --out out
        stamp $a $b out plot clouds $npy --out out
    done
done
# a training goes on with the model it began with
must train --model model1 --data csv:pics/data.csv --out run --epochs 1 --batch 6
start train --model model2 --data csv:pics/data.csv --out run --epochs 1 --batch 6 --resume >.out 2>.err
say "train --resume: $?"
grep "$(print 1)" .err | grep -q "$(print 2)" || fail "train --resume: $(cat .err)"
# the same model by another name, and both sides of one set, are no mixture
cp -r model1 copy
m search set1 --text red --model copy -k 1
start eval retrieval --images set1/image.npy --texts set1/text.npy --bootstrap 0 --pairs set1/pairs.csv --json >.npy 2>/dev/null || fail "one set"
start eval retrieval set1 --bootstrap 0 --json >.set
for f in .npy .set; do sed 's/"set": "[^"]*"/S/;s/"data": "[^"]*"/D/;s/"protocol": "[^"]*"/P/' $f >$f.cut; done
cmp .npy.cut .set.cut || fail "a set and its two files differ"
say "$refused refused with exit 3, $stamped stamped with --force"
printf '%d refused, both named; %d stamped\n' $refused $stamped
