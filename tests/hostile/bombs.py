"""tests/hostile/bombs.py PROBE [full]: small files that ask for much. Each is refused by a limit that the message names, or
read, within 256 MiB. Time is reported, not judged; 30 seconds end a file.
"""
import gzip
import io
import os
import struct
import sys
import tarfile
import zlib

from hostile import Probe, Report, Scratch, js, parts, seeds, st

MIB = 1024


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, bits, colour, before=(), rows=None):
    """A PNG of one colour; its data are deflated in pieces, for they would be large."""
    row = b"\0" + bytes((width * bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] + 7) // 8)
    z, out, n = zlib.compressobj(6), [], height if rows is None else rows
    block = row * max(1, (1 << 20) // len(row))
    per = len(block) // len(row)
    while n >= per:
        out.append(z.compress(block))
        n -= per
    out.append(z.compress(row * n) + z.flush())
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(before) + chunk(b"IDAT", b"".join(out)) + chunk(b"IEND", b"")


def jpeg(width, height, scans=1, progressive=False, junk=0, marker=None):
    """A JPEG whose header is right and whose data are zeros: what counts is what a reader does before it reads them."""
    out = b"\xff\xd8" + b"".join(b"\xff" + bytes([marker]) + struct.pack(">H", 65535) +
                                  (b"ICC_PROFILE\0" + bytes([i % 255 + 1, 255])).ljust(65533, b"x") for i in range(junk))
    out += b"\xff\xdb" + struct.pack(">HB", 67, 0) + b"\x01" * 64
    out += b"\xff" + (b"\xc2" if progressive else b"\xc0") + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\x00"
    for klass in (0x00, 0x10):
        out += b"\xff\xc4" + struct.pack(">HB", 20, klass) + b"\x01" + bytes(15) + b"\x00"
    for i in range(scans):
        spectral = (0, 0, 0) if progressive else (0, 63, 0)
        out += b"\xff\xda" + struct.pack(">HBBB", 8, 1, 1, 0) + bytes(spectral) + bytes(64 if scans > 1 else 100000)
    return out + b"\xff\xd9"


def gif(frames, width=4, height=4, frame=None):
    one = b"\x21\xf9\x04\x00\x01\x00\x00\x00" + b"\x2c" + struct.pack("<HHHHB", 0, 0, *(frame or (width, height)), 0) + b"\x02\x02\x4c\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + one * frames + b";"


def webp_frames(n):
    still = dict(seeds("webp"))["lossless"]
    body = still[12:]
    anmf = b"ANMF" + struct.pack("<I", 16 + len(body)) + bytes(6) + b"\x06\0\0\x06\0\0" + b"\x64\0\0" + b"\0" + body
    inner = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + b"\x12\0\0\0" + b"\x06\0\0\x06\0\0" + b"ANIM" + struct.pack("<I", 6) + bytes(6) + anmf * n
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


def big(n):
    return b"x" * n


def pictures():
    yield "jpeg of 65,500 square in 100 KB", "x.jpg", jpeg(65500, 65500), "refuse", ["limit"]
    yield "jpeg of 65,535 x 1,526", "x.jpg", jpeg(65535, 1526), "refuse", []
    # within the limits: its coefficients are kept until the last scan, two bytes each
    yield "progressive jpeg of 5,000 square", "x.jpg", jpeg(5000, 5000, progressive=True), None, []
    yield "progressive jpeg of 5,000 scans", "x.jpg", jpeg(64, 64, scans=5000, progressive=True), "refuse", ["limit jpeg-scans"]
    yield "jpeg with 100 MB of ICC", "x.jpg", jpeg(8, 8, junk=1600, marker=0xe2), None, []
    yield "jpeg with 100 MB of EXIF", "x.jpg", jpeg(8, 8, junk=1600, marker=0xe1), None, []
    yield "png of 60,000 square and one bit", "x.png", png(60000, 60000, 1, 0), "refuse", ["limit pixels"]
    yield "png of 9,999 square and one bit", "x.png", png(9999, 9999, 1, 0), "refuse", ["limit pixels-per-byte"]
    yield "png of 9,999 square, whose rows are not there", "x.png", png(9999, 9999, 8, 2, rows=10), "refuse", ["limit"]
    yield "png of 2^31-1 square", "x.png", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2 ** 31 - 1, 2 ** 31 - 1, 1, 0, 0, 0, 0)) + chunk(b"IEND", b""), "refuse", []
    text = zlib.compress(big(100 << 20), 6)
    yield "png with 100 MB of zTXt in %d bytes" % len(text), "x.png", png(8, 8, 8, 2, [chunk(b"zTXt", b"k\0\0" + text)]), None, []
    yield "png with 100 MB of iTXt", "x.png", png(8, 8, 8, 2, [chunk(b"iTXt", b"k\0\1\0\0\0" + text)]), None, []
    yield "png with 100 MB of iCCP", "x.png", png(8, 8, 8, 2, [chunk(b"iCCP", b"k\0\0" + text)]), None, []
    yield "png with 10,000 texts", "x.png", png(8, 8, 8, 2, [chunk(b"tEXt", b"k%d\0v" % i) for i in range(10000)]), None, []
    yield "png with 100,000 empty data chunks", "x.png", png(8, 8, 8, 2, [chunk(b"IDAT", b"")] * 100000), None, []
    yield "gif of 10,000 frames", "x.gif", gif(10000), None, []
    yield "gif of 65,535 square", "x.gif", gif(1, 65535, 65535), "refuse", ["limit"]
    yield "gif with a frame larger than itself", "x.gif", gif(1, 4, 4, (65535, 65535)), "refuse", ["limit"]
    yield "gif whose second frame is larger", "x.gif", gif(1)[:-1] + gif(1, 4, 4, (65535, 65535))[19:], None, []
    yield "webp of 10,000 frames", "x.webp", webp_frames(10000), None, []
    w = dict(seeds("webp"))["lossy"]
    yield "webp of 16,383 square in 134 bytes", "x.webp", w[:26] + b"\xff\xff\xff\xff" + w[30:], "refuse", ["limit"]
    w = dict(seeds("webp"))["lossless"]
    yield "lossless webp of 16,384 square", "x.webp", w[:21] + b"\xff\xff\xff\x0f" + w[25:], "refuse", ["limit"]
    head = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + b"\xff\xff\xff" * 2
    yield "webp with a canvas of 2^24 square", "x.webp", b"RIFF" + struct.pack("<I", 4 + len(head)) + b"WEBP" + head, "refuse", ["limit"]
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", 9)
    for tag, v in ((256, 60000), (257, 60000), (258, 1), (259, 1), (262, 1), (273, 8), (277, 1), (278, 60000), (279, 100)):
        tiff += struct.pack("<HHII", tag, 4, 1, v)
    yield "tiff of 60,000 square", "x.tif", tiff + bytes(4), "refuse", ["limit"]
    yield "tiff whose directory is itself the next", "x.tif", tiff + struct.pack("<I", 8), "refuse", []
    yield "ppm of 60,000 square", "x.ppm", b"P6 60000 60000 255\n" + bytes(100), "refuse", []
    yield "ppm of 10^5 comments", "x.ppm", b"P6\n" + b"#\n" * 100000 + b"1 1 255\nabc", None, []


def texts(full):
    n = 10 ** 6
    for name, text in (("brackets", b"[" * n), ("closed brackets", b"[" * n + b"]" * n), ("braces", b'{"a":' * n)):
        yield "json of 10^6 " + name, "json", "x.json", text, "refuse", ["limit json-depth"]
    yield "json of 10^6 numbers", "json", "x.json", b"[" + b",".join([b"1"] * n) + b"]", "accept", []
    yield "json: a number of 10^6 digits", "json", "x.json", b"1" * n, "refuse", []
    yield "json: a real of 10^6 digits", "json", "x.json", b"1." + b"1" * n, None, []
    yield "json: a string of 50 MB", "json", "x.json", b'["' + big(50 << 20) + b'"]', "accept", []
    yield "json of 110 MB", "json", "x.json", b'["' + big(110 << 20) + b'"]', "refuse", ["limit json-bytes"]
    yield "json: 10^5 keys that share a hash's low bits", "json", "x.json", js({"k%020d" % (i * 65536): 1 for i in range(10 ** 5)}), "accept", []
    yield "table: one cell of 20 MB", "table", "x.csv", b"a\n" + big(20 << 20), "refuse", ["limit line-bytes"]
    yield "table: an open quote over 20 MB of lines", "table", "x.csv", b'a\n"' + b"x\n" * (10 << 20), "refuse", ["limit line-bytes"]
    yield "table of 10^6 separators", "table", "x.csv", b"," * n, "refuse", []
    yield "table of 10^6 empty rows", "table", "x.csv", b"a,b\n" + b",\n" * n, "accept", []
    yield "safetensors: a header of 100 MB of brackets", "safetensors", "x.safetensors", st(b"{" + b"[" * (90 << 20)), "refuse", ["header"]
    yield "safetensors: a header of 4 * 10^6 commas", "safetensors", "x.safetensors", st(b'{"a":[' + b"0," * 4000000 + b"0]}"), "refuse", ["limit tensors"]
    yield "npy: a shape of 10^6 dimensions", "npy", "x.npy", (lambda t: b"\x93NUMPY\2\0" + struct.pack("<I", len(t)) + t)(
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"0," * n + b"), }"), "refuse", []
    yield "npy: twelve bytes that announce 4 GiB", "npy", "x.npy", b"\x93NUMPY\2\0\xff\xff\xff\xff", "refuse", ["limit header-bytes"]


def captions(s):
    good = parts(dict(seeds("bpe"))["good"])
    s.put("cap/vocab.json", good[0])
    s.put("cap/merges.txt", good[1])
    for name, text, want, says in (("a word of 100 MB", big(100 << 20), "refuse", ["limit text-bytes"]),
                                   ("a word of 1 MB", big(1 << 20), "accept", []),
                                   ("10^5 words", b"dog " * 100000, "accept", []),
                                   ("10^5 ampersands", b"&amp;" * 100000, "accept", []),
                                   ("nested ampersands", b"&" + b"amp;" * 200000, "accept", []),
                                   ("combining marks", b"a" + b"\xcc\x81" * 400000, "accept", []),
                                   ("zeros", bytes(1 << 20), "accept", [])):
        s.put("cap/text", text)
        yield "caption: " + name, "encode", os.path.join(s.path, "cap"), want, says


def tar_of(members):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w", format=tarfile.USTAR_FORMAT) as t:
        for name, data in members:
            i = tarfile.TarInfo(name)
            i.size = len(data)
            t.addfile(i, io.BytesIO(data))
    return b.getvalue()


def header(name, size, kind=b"0"):
    h = name.encode().ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0" + b" " * 8 + kind
    h = h.ljust(257, b"\0") + b"ustar\00000"
    h = h.ljust(512, b"\0")
    return h[:148] + b"%06o\0 " % sum(h) + h[156:]


def archives(s, full):
    """Shards of pictures and captions. What the loader may not do is unpack what a header promises."""
    n = 10 ** 6 if full else 10 ** 5
    picture = dict(seeds("png"))["RGB"]
    pair = tar_of([("a.png", picture), ("a.txt", b"a dog")])
    yield "tar of %d empty members" % n, "x.tar", header("a.txt", 0) * n + bytes(1024)
    yield "tar of 10^4 empty members of other names", "x.tar", b"".join(header("%d.txt" % i, 0) for i in range(10000)) + bytes(1024)
    yield "tar: a member that says 8 GiB", "x.tar", header("a.png", 8 ** 11 - 1) + bytes(1024)
    yield "tar: 1,000:1 by gzip", "x.tar.gz", gzip.compress(header("a.png", 100 << 20) + bytes(100 << 20) + bytes(1024), 6)
    yield "tar: 1,000:1 by gzip, a caption", "x.tar.gz", gzip.compress(tar_of([("a.png", picture)])[:-10240 + 8704] + header("a.txt", 20 << 20) + b"x" * (20 << 20), 6)
    yield "tar: gzip in gzip", "x.tar.gz", gzip.compress(gzip.compress(bytes(100 << 20), 6))
    yield "tar: a name of 10^6 bytes", "x.tar", header("././@LongLink", 10 ** 6, b"L") + (b"a" * 10 ** 6).ljust(10 ** 6 // 512 * 512 + 512, b"\0") + header("a.txt", 0) + bytes(1024)
    yield "tar of zeros", "x.tar", bytes(10 << 20)
    yield "tar: one pair", "x.tar", pair


def main():
    full = len(sys.argv) > 2
    probe, report = Probe(), Report("F6 bombs")
    # a sanitizer's red zones and quarantine are no memory of ours; MIB KiB each
    most = (256 if probe.ask("sanitized", "x")["code"] >= 0 else 1024) * MIB
    with Scratch() as s:
        def judge(title, kind, path, want, says):
            a = probe.ask(kind, path)
            report.judge(title, a, want, says, most)
            if os.environ.get("VERBOSE"):
                print("%-48s %-6s %5d MiB %6d ms  %s" % (title, "ok" if a["code"] >= 0 else a["code"], a["kib"] // 1024, a["ms"], a["text"][-130:]))

        for title, name, data, want, says in pictures():
            judge(title, "picture", s.put(name, data), want, says)
            os.unlink(os.path.join(s.path, name))
        for title, kind, name, data, want, says in texts(full):
            judge(title, kind, s.put(name, data), want, says)
            os.unlink(os.path.join(s.path, name))
        for title, kind, path, want, says in captions(s):
            judge(title, kind, path, want, says)
        wds = probe.ask("dataset", "wds:" + s.put("ok.tar", tar_of([("a.png", dict(seeds("png"))["RGB"]), ("a.txt", b"a dog")])))
        if wds["code"] < 0:
            print("archives left out: " + wds["text"])
        else:
            for title, name, data in archives(s, full):
                judge(title, "dataset", "wds:" + s.put(name, data), None, [])
                os.unlink(os.path.join(s.path, name))
        return report.end(probe)


sys.exit(main())
