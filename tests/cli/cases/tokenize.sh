# Cleaning modes, cut texts listed, other kinds of tokenizers, a folder without one.
mkdir -p bert clip none
printf '[PAD]\n[UNK]\n[CLS]\n[SEP]\na\ncat\n##s\n.\n' >bert/vocab.txt
printf 'A cat\nA cat. Cats. Cats.\ncats\na a a a a\n' >lines.txt
m tokenize --model bert --file lines.txt --context 5
m tokenize --model bert --text "A cats." --clean blip --json
m tokenize --model bert --text "a [SEP]" --clean none
m tokenize --model bert --text a --clean ftfy
m tokenize --model none --text a
i=0
while [ $i -lt 30 ]; do echo "a cat a cat a cat"; i=$((i + 1)); done >many.txt
must tokenize --model bert --file many.txt --context 4
cat .err >>"$transcript"
printf '{"text": "a cat"}\n{"text": "\\u201ca cat\\u201d"}\n' >two.jsonl
m tokenize --model bert --file two.jsonl --json
