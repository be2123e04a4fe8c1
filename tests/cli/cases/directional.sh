# quick: asymvlm's distributions are of texts alone, and every command says so; prolip with a masked twin of its set.
pictures pics 12
tiny model1 1
must encode --model model1 --data csv:pics/data.csv --out set1
OMP_NUM_THREADS=1
export OMP_NUM_THREADS
for family in ps vmf; do
    must adapt --on set1 --out $family --method asymvlm --family $family --epochs 2 --batch 4 --hidden 8 -q
    must predict $family set1 --out $family.csv --arrays $family.d -q
    say "$family: $(grep -c '^text,' $family.csv) texts, $(grep -c '^image,' $family.csv) pictures"
    ! grep -qi nan $family.csv || fail "nan in $family.csv"
done
say $(ls ps.d)
must predict ps set1 --out again.csv
grep '^image' .out >.line
say "$(cat .line)"
must predict ps set1 --out json.csv --json
grep -q '"image": *null' .out || fail "no null for pictures: $(cat .out)"
must eval uncertainty set1 --adapter ps --bootstrap 0
say "$(grep '^adapter .*says' .out)"
must eval uncertainty set1 --adapter ps --bootstrap 0 --json
must sample ps set1 --row 3 -n 4 --region tail --out draws.npy -q
must likelihood ps set1 --side text --row 3 --out l.csv -q
say "$(wc -l <l.csv | tr -d ' ') lines"
m sample ps set1 --side image --row 3 --out no.npy
m likelihood ps set1 --row 3
m predict ps set1 --out no.csv --dropout 0.2
absent no.npy
absent no.csv
must encode --model model1 --data csv:pics/data.csv --out twin --mask-pictures 0.5 --mask-words 0.5
must adapt --on set1 --out prolip --method prolip --masked twin --epochs 2 --batch 4 --hidden 8 -q
must predict prolip set1 --out prolip.csv -q
say "prolip: $(wc -l <prolip.csv | tr -d ' ') lines"
pictures fewer 6
must encode --model model1 --data csv:fewer/data.csv --out short
m adapt --on set1 --out no --method prolip --masked short --epochs 1 --hidden 8
absent no
