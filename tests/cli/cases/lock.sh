# Two writers of one run folder: the second is refused and told who holds it.
command -v flock >/dev/null || skip "no flock program"
tiny model
must train --model model --data csv:pics/data.csv --out run --epochs 1 --batch 6
flock run/lock "$program" train --model model --data csv:pics/data.csv --out run --epochs 1 --batch 6 --force >.out 2>.err
say "= $?"
talk .err
