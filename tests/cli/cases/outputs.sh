# An existing output is refused without --force, a file is never left half written, the set's model is checked.
tiny model
m encode --model model --data csv:pics/data.csv --out set --json
m encode --model model --data csv:pics/data.csv --out set
m encode --model model --data csv:pics/data.csv --out set --force --json
m init "$here/tiny.json" --data csv:pics/data.csv --vocab-size 540 --out model
m report set --out report --bootstrap 20
m report set --out report
m report set --out report --force --bootstrap 20
m plot clouds set --out clouds.svg
m plot clouds set --out clouds.svg
m preprocess --model model pics/p0.png --out p.npy
m preprocess --model model pics/p0.png --out p.npy
tiny second 2
m search set --text red --model second
m train --model model --data csv:pics/data.csv --out run --epochs 1 --batch 6
m train --model model --data csv:pics/data.csv --out run --epochs 1 --batch 6
m train --model model --data csv:pics/data.csv --out run --resume --force
m train --model model --data csv:pics/data.csv --out nosuch --resume
m train --model model --data csv:pics/data.csv --out run2 --batch 100
m train --model model --data csv:pics/data.csv --out run2 --batch 6 --loss clap
m train --model model --data csv:pics/data.csv --out run2 --batch 6 --loss-opt target=match
