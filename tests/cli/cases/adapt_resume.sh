# quick: kill -9 and Ctrl-C in the middle of a fitting: the same command goes on, and the adapter is that of an undisturbed run, byte for
# byte; other options and another set are refused; bf16 follows f32.
pictures pics 60
tiny model 1
must encode --model model --data csv:pics/data.csv --out set
OMP_NUM_THREADS=1
export OMP_NUM_THREADS
same() { (cd "$1" && sha256sum adapter.json adapter.safetensors run.jsonl) | cmp -s - .want; }
# wait_for FILE: until it is there, or the run has ended
wait_for() {
    i=0
    while [ $i -lt 1000 ] && [ ! -e "$1" ] && kill -0 $pid 2>/dev/null; do
        sleep 0.01
        i=$((i + 1))
    done
}
kept=0 equal=0
for method in probvlm pcme; do
    options="--on set --method $method --epochs 150 --batch 8 --hidden 64 --save-every 0.02 --seed 3"
    must adapt $options --out whole-$method
    [ ! -e whole-$method.partial ] || fail "whole.partial stays"
    (cd whole-$method && sha256sum adapter.json adapter.safetensors run.jsonl) >.want
    [ $method = probvlm ] && signals='KILL INT' || signals='KILL TERM'
    for signal in $signals; do
        rm -rf stopped
        "$program" adapt $options --out stopped >.out 2>.err &
        pid=$!
        echo $pid >>.pids
        wait_for stopped.partial/state-1/piece.json
        kill -$signal $pid 2>/dev/null
        wait $pid
        code=$?
        : >.pids
        if [ $code != 0 ]; then
            kept=$((kept + 1))
            absent stopped
            [ $signal = KILL ] || grep -q 'steps is kept; the same command goes on' .err || fail "what stays: $(cat .err)"
            [ $signal = KILL ] || [ $code = 130 ] || fail "exit $code after SIG$signal"
            must adapt $options --out stopped --resume
            grep -q 'going on with the work in stopped.partial' .err || fail "nothing was kept: $(cat .err)"
        fi
        [ ! -e stopped.partial ] || fail "stopped.partial stays"
        same stopped && equal=$((equal + 1))
    done
done
[ $kept -ge 2 ] || fail "only $kept of 4 were stopped in time: not much of a test"
say "4 runs, $equal bit-equal"
# A state that is damaged is passed over for the older one; what is not ours is left alone.
options="--on set --epochs 150 --batch 8 --hidden 64 --save-every 0.02 --seed 3"
begin() {
    "$program" adapt $options --out stopped >.out 2>.err &
    pid=$!
    echo $pid >>.pids
    wait_for stopped.partial/state-1/piece.json
    kill -KILL $pid 2>/dev/null
    wait $pid
    : >.pids
}
(cd whole-probvlm && sha256sum adapter.json adapter.safetensors run.jsonl) >.want
rm -rf stopped && begin
if [ -e stopped.partial/state-1/state.safetensors ]; then
    printf 'x' | dd of=stopped.partial/state-1/state.safetensors bs=1 seek=3000 conv=notrunc 2>/dev/null
    m adapt $options --out stopped --lr 1e-3 -q
    mkdir small && "$helper" pictures small/pics 12 && must encode --model model --data csv:small/pics/data.csv --out small/set
    m adapt $options --out stopped --on small/set -q
    m adapt $options --out stopped --resume --force
    must adapt $options --out stopped
fi
same stopped || fail "another adapter after a damaged state"
[ ! -e stopped.partial ] || fail "stopped.partial stays"
mkdir other.partial && echo mine >other.partial/file
m adapt --on set --out other --epochs 1 --hidden 8 -q
# bf16: the loss of the last epoch within 1 % of that in f32
for method in probvlm pcmepp; do
    for dtype in f32 bf16; do
        must adapt --on set --method $method --epochs 20 --batch 8 --hidden 256 --dtype $dtype --out $method-$dtype -q --json
        sed 's/.*"final_loss": *\([-0-9.e]*\).*/\1/' .out >>.losses
    done
done
paste -d' ' - - <.losses | awk '{ d = ($2 - $1) / $1; if (d < -0.01 || d > 0.01 || d == 0) { print "loss", $1, $2; exit 1 } }' >.out || fail "$(cat .out)"
m adapt --on set --method tta --dtype bf16 --out none
