"""examples/nearest.py: which of these texts fits this picture best?

    python3 nearest.py MODEL PICTURE TEXT...

Prints the texts, best first, with their cosine: what examples/nearest.c does, in Python.
"""

import sys

import meridian as mrd


def main() -> int:
    if len(sys.argv) < 4:
        print("usage: nearest.py MODEL PICTURE TEXT...", file=sys.stderr)
        return 2
    path, picture, texts = sys.argv[1], sys.argv[2], sys.argv[3:]
    try:
        model = mrd.Model(path)
        cosines = model.encode_texts(texts) @ model.encode_images([picture])[0]  # rows have unit length
    except mrd.MeridianError as e:
        print(e, file=sys.stderr)
        return 1
    for cosine, text in sorted(zip(cosines, texts), reverse=True):
        print(f"{cosine:7.4f}  {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
