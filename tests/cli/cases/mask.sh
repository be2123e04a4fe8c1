# quick: masked sets lie beside whole ones row by row; a mask study, its files, going on after a kill, what is refused.
pictures pics 12
tiny model
OMP_NUM_THREADS=1
export OMP_NUM_THREADS
data='--model model --data csv:pics/data.csv -q'
must encode $data --out whole
must encode $data --out masked --mask-pictures 0.5 --mask-words 0.5
must encode $data --out again --mask-pictures 0.5 --mask-words 0.5
must encode $data --out nothing --mask-pictures 0 --seed 3
must encode $data --out marked --mask-words 1 --mask-with unk
cmp -s masked/image.npy again/image.npy && cmp -s masked/text.npy again/text.npy || fail "masks are not the same twice"
cmp -s whole/image.npy masked/image.npy && fail "no picture was masked"
cmp -s whole/text.npy masked/text.npy && fail "no text was masked"
cmp -s whole/image.npy nothing/image.npy || fail "a share of 0 is not the picture itself"
cmp -s whole/image.npy marked/image.npy || fail "--mask-words changed pictures"
cmp -s whole/pairs.csv masked/pairs.csv || fail "other pairs"
[ "$(wc -l <whole/texts.csv)" = "$(wc -l <masked/texts.csv)" ] || fail "other texts"
say "$(sed -n 's/.*"protocol": *\("[^"]*"\).*/\1/p' masked/set.json)"
say "$(sed -n 2p marked/texts.csv)"
m encode --model model --image pics/0.png --mask-pictures 0.5

must mask-study $data --out study --bootstrap 50 --step 30 --score cosine,entropy
ls study >.names
say $(cat .names)
say "$(head -n 1 study/mask.tsv | tr '\t' ' ')"
say "$(wc -l <study/mask.tsv | tr -d ' ') lines"
awk -F '\t' '$3 == 0 && NR > 1 && ($8 != 0 || $11 != 0) { exit 1 }' study/mask.tsv || fail "a rise without a mask"
absent study.sets
# the plan of a later share is not what the model has done before it
start mask-study --model "$here/../../models/emoji" --data csv:pics/data.csv --out plans --bootstrap 0 --step 45 --score cosine >.out 2>.err || fail "$(cat .err)"
sed -n 's/.*about \([0-9]*\) MiB.*/\1/p' .err | awk 'NR == 1 { first = $1 } $1 > 2 * first { bad = 1 } END { exit bad || NR < 3 }' ||
    fail "plans grow: $(grep plan: .err)"
must adapt --on whole --method pcmepp --epochs 1 --hidden 8 --out plain -q
must adapt --on whole --method tta --model model --passes 3 --out inputs -q
must mask-study $data --out both --bootstrap 0 --step 45 --score none --adapter plain inputs --save-sets sets --json
for key in shares pictures words spearman risen steps_up empty recall_at_1 pcmepp tta; do
    grep -q "\"$key\":" .out || fail "no $key in $(cat .out)"
done
ls sets >.names
say $(cat .names)
cut -f 1,2 both/mask.tsv | sort -u >.names
say "$(tr '\t\n' ' ,' <.names)"
# finished sets are taken as they are, and the study is the same
must mask-study $data --out both2 --bootstrap 0 --step 45 --score none --adapter plain inputs --save-sets sets
cmp -s both/mask.tsv both2/mask.tsv || fail "not the same twice"
m mask-study $data --out x --bootstrap 0 --step 45 --score cosine --save-sets sets --seed 1
m mask-study $data --out both
m mask-study $data --out x --score cosinus
m mask-study $data --out x --score none
m mask-study $data --out x --step 95
m mask-study $data --out x --min-words 100
m mask-study --model model --out x
absent x
