#!/usr/bin/python3
"""Pictures of many kinds, and what Pillow makes of them in the published ways.

    pillow_oracle.py DIR COUNT

Writes COUNT pictures into DIR, list.txt with a line "NAME TARGET FILTER" each, and expected.u8: for each picture, in
that order, the bytes [target, target, 3] of OpenAI's way, of HuggingFace's, and of open_clip's "longest". Plain Pillow calls; what its
encoders cannot write (PNG of 16 bits a channel, interlaced PNG, GIF frames smaller than the picture) is put together
here. The same COUNT gives the same pictures.
"""
import io
import os
import random
import struct
import sys
import zlib

from PIL import Image

FILTERS = [Image.BICUBIC, Image.BICUBIC, Image.BICUBIC, Image.BILINEAR, Image.LANCZOS, Image.NEAREST, Image.BOX, Image.HAMMING]


def openai(im, target, how):
    w, h = im.size
    size = (target, int(target * h / w)) if w <= h else (int(target * w / h), target)
    im = im.resize(size, how)
    left, top = int(round((size[0] - target) / 2.0)), int(round((size[1] - target) / 2.0))
    return im.crop((left, top, left + target, top + target)).convert("RGB").tobytes()


def huggingface(im, target, how):
    im = im.convert("RGB")
    w, h = im.size
    size = (target, int(target * h / w)) if w <= h else (int(target * w / h), target)
    im = im.resize(size, how)
    left, top = (size[0] - target) // 2, (size[1] - target) // 2
    return im.crop((left, top, left + target, top + target)).tobytes()


def open_clip_longest(im, target, how):
    """The whole picture inside the square, the rest of it filled with level 77 of the picture's own mode. (A palette's
    entry 77 means nothing: there we fill with RGB.)"""
    w, h = im.size
    ratio = max(h / target, w / target)
    im = im.resize((max(1, round(w / ratio)), max(1, round(h / ratio))), how)
    if im.mode == "P":
        im = im.convert("RGB")
    whole = Image.new(im.mode, (target, target), (77,) * len(im.getbands()) if len(im.getbands()) > 1 else 77)
    whole.paste(im, ((target - im.width) // 2, (target - im.height) // 2))
    return whole.convert("RGB").tobytes()


def noise(r, w, h, bands):
    """Something between a photograph and noise: coarse colours with fine grain, and a few hard edges."""
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[bands]
    coarse = Image.frombytes(mode, (4, 3), r.randbytes(12 * bands)).resize((w, h), Image.BICUBIC)
    fine = Image.frombytes(mode, (w, h), r.randbytes(w * h * bands))
    im = Image.blend(coarse, fine, r.choice([0.0, 0.1, 0.4]))
    for _ in range(3):
        x, y = r.randrange(w), r.randrange(h)
        im.paste(tuple(r.randbytes(bands)) if bands > 1 else r.randrange(256), (x, y, x + w // 3 + 1, y + h // 4 + 1))
    return im


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(w, h, bits, color, data, interlaced=False, trns=None):
    """A PNG out of rows of packed bytes; bits is 8 or 16."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[color]
    px = channels * bits // 8
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b""
    for x0, y0, dx, dy in passes:
        for y in range(y0, h, dy):
            row = b"".join(data[(y * w + x) * px:(y * w + x + 1) * px] for x in range(x0, w, dx))
            raw += b"\0" + row if row else b""
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, bits, color, 0, 0, interlaced))
            + (chunk(b"tRNS", trns) if trns else b"") + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def saved(im, **options):
    b = io.BytesIO()
    im.save(b, **options)
    return b.getvalue()


def gif_in_canvas(r, im, transparent):
    """The frame of a GIF moved into a larger canvas."""
    data = bytearray(saved(im, format="GIF", **({"transparency": r.randrange(4)} if transparent else {})))
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while data[at] == 0x21:  # extensions
        at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
    x, y = r.randrange(20), r.randrange(20)
    struct.pack_into("<HH", data, 6, im.width + x + r.randrange(9), im.height + y + r.randrange(9))
    struct.pack_into("<HH", data, at + 1, x, y)
    return bytes(data)


def jpeg(r, w, h):
    return saved(noise(r, w, h, 3), format="JPEG", quality=r.choice([30, 75, 90, 100]), subsampling=r.choice([0, 1, 2]))


def jpeg_progressive(r, w, h):
    return saved(noise(r, w, h, 3), format="JPEG", progressive=True, quality=85, subsampling=r.choice([0, 1, 2]))


def jpeg_gray(r, w, h):
    return saved(noise(r, w, h, 1), format="JPEG", quality=80, optimize=True)


def jpeg_cmyk(r, w, h):
    return saved(Image.merge("CMYK", noise(r, w, h, 4).split()), format="JPEG", quality=90)


def jpeg_exif(r, w, h):
    exif = Image.Exif()
    exif[274] = r.randrange(1, 9)
    return saved(noise(r, w, h, 3), format="JPEG", exif=exif)


def png_rgb(r, w, h):
    return saved(noise(r, w, h, 3), format="PNG")


def png_gray(r, w, h):
    return saved(noise(r, w, h, 1), format="PNG")


def png_gray_alpha(r, w, h):
    return saved(Image.merge("LA", (noise(r, w, h, 1), noise(r, w, h, 1))), format="PNG")


def png_rgba(r, w, h):
    return saved(noise(r, w, h, 4), format="PNG")


def png_palette(r, w, h):
    return saved(noise(r, w, h, 3).quantize(r.choice([2, 4, 16, 200])), format="PNG")


def png_palette_clear(r, w, h):
    clear = r.choice([r.randbytes(9), 0, 3])
    return saved(noise(r, w, h, 3).quantize(16), format="PNG", transparency=clear)


def png_one_bit(r, w, h):
    return saved(noise(r, w, h, 1).convert("1"), format="PNG")


def png_few_grays(r, w, h):
    return saved(noise(r, w, h, 1).point(lambda v: v // 85 * 85 if w % 2 else v // 17 * 17), format="PNG",
                 bits=2 if w % 2 else 4) if r.random() < 0.5 else png(w, h, 8, 0, r.randbytes(w * h), trns=b"\0\7")


def png_gray16(r, w, h):
    high = r.choice([b"\0", b"\1", None])  # dark ones are not all white
    data = b"".join((high or r.randbytes(1)) + r.randbytes(1) for _ in range(w * h))
    return png(w, h, 16, 0, data)


def png_rgb16(r, w, h):
    return png(w, h, 16, 2, r.randbytes(w * h * 6), trns=r.choice([None, b"\0\1\0\2\0\3"]))


def png_alpha16(r, w, h):
    color = r.choice([4, 6])
    return png(w, h, 16, color, r.randbytes(w * h * (4 if color == 4 else 8)))


def png_interlaced(r, w, h):
    color = r.choice([0, 2, 6])
    im = noise(r, w, h, {0: 1, 2: 3, 6: 4}[color])
    return png(w, h, 8, color, im.tobytes(), interlaced=True)


def png_clear_color(r, w, h):
    return png(w, h, 8, 2, noise(r, w, h, 3).tobytes(), trns=b"\0\1\0\2\0\3")


def gif(r, w, h):
    return saved(noise(r, w, h, 3).quantize(r.choice([2, 8, 64, 256])), format="GIF", interlace=r.randrange(2))


def gif_clear(r, w, h):
    return saved(noise(r, w, h, 3).quantize(16), format="GIF", transparency=r.randrange(16))


def gif_gray(r, w, h):
    return saved(noise(r, w, h, 1), format="GIF")


def gif_part(r, w, h):
    return gif_in_canvas(r, noise(r, w, h, 3).quantize(8), r.randrange(2))


def gif_animated(r, w, h):
    frames = [noise(r, w, h, 3).quantize(16) for _ in range(3)]
    return saved(frames[0], format="GIF", save_all=True, append_images=frames[1:], duration=100)


def webp_lossless(r, w, h):
    return saved(noise(r, w, h, 3), format="WEBP", lossless=True)


def webp_alpha(r, w, h):
    return saved(noise(r, w, h, 4), format="WEBP", lossless=True, exact=r.random() < 0.5)


def webp_lossy(r, w, h):
    return saved(noise(r, w, h, r.choice([3, 4])), format="WEBP", quality=r.choice([20, 80]))


def webp_animated(r, w, h):
    frames = [noise(r, w, h, 3) for _ in range(2)]
    return saved(frames[0], format="WEBP", save_all=True, append_images=frames[1:], lossless=True)


def tiff(r, w, h):
    im = noise(r, w, h, 3)
    kind = r.randrange(8)
    if kind == 0:
        return saved(im.quantize(40), format="TIFF")
    if kind == 1:
        return saved(im.convert("1"), format="TIFF", compression="group4")
    if kind == 2:
        return saved(noise(r, w, h, 4), format="TIFF", compression="tiff_lzw")
    if kind == 3:
        return saved(Image.merge("CMYK", noise(r, w, h, 4).split()), format="TIFF")
    if kind == 4:
        return saved(Image.merge("LA", (noise(r, w, h, 1), noise(r, w, h, 1))), format="TIFF")
    if kind == 5:
        return saved(im, format="TIFF", tiffinfo={274: r.randrange(1, 9)})
    if kind == 6:
        return saved(im, format="TIFF", compression="jpeg")
    return saved(im.convert("L"), format="TIFF", compression="tiff_deflate")


def ppm(r, w, h):
    im = noise(r, w, h, 3)
    return saved(r.choice([im, im.convert("L"), im.convert("1")]), format="PPM")


KINDS = [jpeg, jpeg_progressive, jpeg_gray, jpeg_cmyk, jpeg_exif, png_rgb, png_gray, png_gray_alpha, png_rgba, png_palette,
         png_palette_clear, png_one_bit, png_few_grays, png_gray16, png_rgb16, png_alpha16, png_interlaced,
         png_clear_color, gif, gif_clear, gif_gray, gif_part, gif_animated, webp_lossless, webp_alpha, webp_lossy,
         webp_animated, tiff, ppm]


def shape(r, target):
    """(width, height): portrait, landscape, square, one pixel, a line, exactly the target, nearly that, small."""
    a, b = r.randrange(1, 160), r.randrange(1, 160)
    return r.choice([(min(a, b), max(a, b)), (max(a, b), min(a, b)), (a, a), (1, 1), (r.randrange(1, 4), b), (a, r.randrange(1, 4)),
                     (target, target), (target, target + a), (target + a, target), (target + 1, target + b), (a, b),
                     (a % 9 + 1, b % 9 + 1), (2 * target, 3 * target)])


def main():
    where, count = sys.argv[1], int(sys.argv[2])
    r = random.Random(count)
    with open(os.path.join(where, "list.txt"), "w") as names, open(os.path.join(where, "expected.u8"), "wb") as out:
        for i in range(count):
            make = KINDS[i % len(KINDS)]
            target, how = r.choice([16, 31, 48]), r.choice(FILTERS)
            data = make(r, *shape(r, target))
            name = "%05d_%s" % (i, make.__name__)
            with open(os.path.join(where, name), "wb") as f:
                f.write(data)
            names.write("%s %d %d\n" % (name, target, how))
            for way in openai, huggingface, open_clip_longest:
                im = Image.open(io.BytesIO(data))
                im.load()
                out.write(way(im, target, how))


main()
