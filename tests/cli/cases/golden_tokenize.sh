# 1892 strings, ids as the original gives them.
golden tokenizer_clip
must tokenize --model "$G" --file "$G/strings.jsonl"
sed -n 's/.*"ids": *\(\[[^]]*\]\)} *$/\1/p' "$G/strings.jsonl" | tr -d ' ' >want
cmp want .out || { diff want .out | head -5 >&2; fail "ids differ"; }
say "$(wc -l <want | tr -d ' ') strings"
m tokenize --model "$G" --text "a photo of a cat" --context 10
