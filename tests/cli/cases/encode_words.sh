# Single pictures and texts on stdout: one vector a line of unit length, whatever is encoded beside it.
tiny model
must encode --model model --image pics/p0.png pics/p1.png --text "a red square" "blue" 
[ "$(wc -l <.out)" -eq 4 ] || fail "expected 4 lines"
awk '{ s = 0; for (i = 1; i <= NF; i++) s += $i * $i; if (NF != 16 || s < 0.99999 || s > 1.00001) exit 1 }' .out || fail "not unit vectors of width 16"
cp .out both
must encode --model model --text "a red square"
sed -n 3p both >want
awk 'NR == FNR { for (i = 1; i <= NF; i++) a[i] = $i; next } { for (i = 1; i <= NF; i++) if ((a[i] - $i) ^ 2 > 1e-10) exit 1 }' want .out || fail "depends on its neighbours"
m encode --model model --text blue --data csv:pics/data.csv
m encode --model model
m encode --model model --image nosuch.png
m encode --model model --text "$(printf 'long %.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20)" --json
