# The validation split is judged, and the best model kept.
pictures pics 12
awk -F, 'NR == 1 { print $0 ",split"; next } { n = $1; gsub(/[^0-9]/, "", n); print $0 "," (n % 3 == 2 ? "validation" : "train") }' pics/data.csv >pics/split.csv
must init "$here/tiny.json" --data csv:pics/split.csv --split train --vocab-size 540 --out model
must train --model model --data csv:pics/split.csv --split train --val-split validation --eval-every 2 --epochs 5 --batch 4 --out run --json
grep -q '"best": [0-9]' .out || fail "no best"
say "judged $(grep -c '"val_r1":' run/run.jsonl) times"
for key in val_image_to_text_r1 val_text_to_image_r1 val_centroid_distance val_uniformity_image val_uniformity_text; do
    grep -q "\"$key\":-*[0-9]" run/run.jsonl || fail "$key"
done
m train --model model --data csv:pics/split.csv --split train --val-split nosuch --batch 4 --out run2
