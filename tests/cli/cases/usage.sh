# What a user types wrong, and what help there is.
m --version
m encod --model x
m eval
m eval retrieva set
m encode --modle x
m encode --model x --batch no
m train --epochs 0
m search
m search set
m report set
m init
m bench nosuch
m plot nosuch set --out f.svg
m tokenize --model . --text a --context 1
m limits --limits pixel=3
m limits --limits pixels
m -x
m help nosuch
m limits --limits sides=5
