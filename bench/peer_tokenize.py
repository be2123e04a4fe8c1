"""bench/peer_tokenize.py FOLDER LINES.txt: the peer of bench/tokenize.

CLIP's published text path in plain Python, written from its description (Radford et al. 2021; Sennrich et al. 2016):
html.unescape twice, strip, white space, lower case, the pattern, byte pair encoding with a dictionary of words already
seen. ftfy is left out, which only helps this side. Needs the module regex (python3-regex), whose classes the pattern
uses; without it says so and ends with 3. Prints what bench_tokenize prints.
"""
import html
import json
import os
import sys
import time

try:
    import regex
except ImportError:
    print("no module regex (Debian: python3-regex)", file=sys.stderr)
    sys.exit(3)

WORD = regex.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+",
                     regex.IGNORECASE)
SPACE = regex.compile(r"\s+")


def printable_bytes():
    """Each byte as one printable character: itself where it is printable, else one behind U+0100."""
    own = [b for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or b >= 0xAE]
    rest = [b for b in range(256) if b not in set(own)]
    table = {b: chr(b) for b in own}
    table.update({b: chr(256 + i) for i, b in enumerate(rest)})
    return table


class Tokenizer:
    def __init__(self, folder):
        with open(os.path.join(folder, "vocab.json"), encoding="utf-8") as f:
            self.ids = json.load(f)
        with open(os.path.join(folder, "merges.txt"), encoding="utf-8") as f:
            lines = [line.rstrip("\n") for line in f if not line.startswith("#version") and line.strip()]
        self.ranks = {tuple(line.split(" ")): i for i, line in enumerate(lines)}
        self.symbol = printable_bytes()
        self.seen = {mark: [self.ids[mark]] for mark in ("<|startoftext|>", "<|endoftext|>")}

    def word(self, text):
        """Ids of one word, by joining the best pair until none is known."""
        found = self.seen.get(text)
        if found is not None:
            return found
        parts = [self.symbol[b] for b in text.encode("utf-8")]
        parts[-1] += "</w>"
        while len(parts) > 1:
            best = min(zip(parts, parts[1:]), key=lambda pair: self.ranks.get(pair, 1 << 30))
            if best not in self.ranks:
                break
            joined, i = [], 0
            while i < len(parts):
                if i + 1 < len(parts) and (parts[i], parts[i + 1]) == best:
                    joined.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    joined.append(parts[i])
                    i += 1
            parts = joined
        found = [self.ids[p] for p in parts]
        self.seen[text] = found
        return found

    def encode(self, text):
        text = html.unescape(html.unescape(text)).strip()
        text = SPACE.sub(" ", text).strip().lower()
        ids = []
        for word in WORD.findall(text):
            ids.extend(self.word(word))
        return ids


def main():
    tokenizer = Tokenizer(sys.argv[1])
    with open(sys.argv[2], encoding="utf-8", newline="\n") as f:
        lines = f.read().split("\n")
    if lines and not lines[-1]:
        lines.pop()
    start = time.perf_counter()
    all_ids = [tokenizer.encode(line) for line in lines]
    spent = time.perf_counter() - start
    count = total = 0
    for ids in all_ids:
        for i in ids:
            total += i * (count % 997 + 1)
            count += 1
    print(f"{spent:.6f} {len(lines)} {count} {total % (1 << 64)}")


main()
