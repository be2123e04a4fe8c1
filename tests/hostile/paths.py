"""tests/hostile/paths.py PROBE: names that come out of files and want to lead elsewhere.

Some hundred names (parents, absolute, empty parts, control bytes, long, not UTF-8, ...) in every place where a file names
another one: index.json of weights, checksums of a set, tables, caption files, tar shards (as names, links, devices). A
canary lies outside the folder that is read. Whatever the verdict: no file may be created, none removed or changed, and
where strace is there, none opened outside but those that were open without the hostile name.
"""
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile

from hostile import Probe, Report, Scratch, js, seeds, st

LONG = "a" * 255
NAMES = ["..", ".", "", "/", "//", "../canary", "../../canary", "x/../../canary", "./../canary", "x/..", "..//canary", "...", "..\\canary",
         "/etc/passwd", "/proc/self/environ", "/dev/zero", "/dev/stdin", "//etc/passwd", "\\\\host\\share", "C:\\x", "file:///etc/passwd",
         "http://127.0.0.1:9/x", "~/.ssh/id_rsa", "~root/x", "$HOME/x", "%2e%2e/canary", "..%2fcanary", "..%00/canary", "\u2025/canary",
         "\uff0e\uff0e/canary", "..\u2044canary", "..;/canary", "x\n../canary", "x\r", "\x1b[2Jx", "x\x7f", "-rf", "--help", "|id", "`id`", "$(id)", ";id",
         "a" * 256, LONG + "/" + LONG, "a/" * 2000 + "x", "a" * 5000, "../" * 500 + "etc/passwd", "CON", "nul", ".hidden", " x", "x ", "x.",
         "x/./y", "x//y", "/x", "x/", "*", "?", "[a-z]", "{a,b}", "x:y", "@x", "#x", "\ufeffx", "\u202egnp.exe", "a\u0301", "\U0001f600", "x\udcff", "\udcc0\udcae\udcc0\udcae/canary"]
WEIRD = [n + e for n in NAMES for e in ("", ".safetensors", ".png")]


def snapshot(root):
    out = {}
    for d, folders, files in os.walk(root):
        for f in folders + files:
            p = os.path.join(d, f)
            s = os.lstat(p)
            out[p] = (s.st_mode, s.st_size if f in files else 0, s.st_mtime_ns if f in files else 0)
    return out


def tar_with(name, kind=tarfile.REGTYPE, link="", data=b"", fmt=tarfile.PAX_FORMAT):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w", format=fmt, errors="surrogateescape") as t:
        i = tarfile.TarInfo(name)
        i.type, i.linkname, i.size = kind, link, len(data) if kind == tarfile.REGTYPE else 0
        if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            i.devmajor, i.devminor = 1, 5
        t.addfile(i, io.BytesIO(data) if i.size else None)
        for n, d in (("ok.png", dict(seeds("png"))["RGB"]), ("ok.txt", b"fine")):
            i = tarfile.TarInfo(n)
            i.size = len(d)
            t.addfile(i, io.BytesIO(d))
    return b.getvalue()


def cases(s, probe, report, wds):
    """Yields (title, kind, path) after writing the file; verdicts are judged by the caller."""
    root = s.dir("in")
    s.put("in/model/config.json", "{}")
    s.put("in/model/a.safetensors", st({"one": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"x"))
    full = dict(seeds("set"))["full"].split(b"\n%%\n")
    s.put("in/set/image.npy", full[1])
    s.put("in/a.png", dict(seeds("png"))["RGB"])
    for n in WEIRD:
        s.put("in/model/model.safetensors.index.json", js({"weight_map": {"one": n}}))
        yield "index.json: shard %r" % n[:40], "model", root + "/model", True
        s.put("in/set/set.json", js({"checksums": {n: "0" * 64}}))
        yield "set.json: checksum of %r" % n[:40], "set", root + "/set", True
        s.put("in/x.json", js({"images": [{"id": 1, "file_name": n}, {"id": 2, "file_name": "a.png"}],
                               "annotations": [{"image_id": 1, "caption": "x"}, {"image_id": 2, "caption": "y"}]}))
        yield "coco: file_name %r" % n[:40], "dataset", "coco:" + root + "/x.json", None
        s.put("in/x.json", js({"images": [{"filepath": n, "filename": n, "split": "train", "sentences": [{"raw": "x"}]},
                                          {"filename": "a.png", "split": "train", "sentences": [{"raw": "x"}]}]}))
        yield "karpathy: filepath %r" % n[:40], "dataset", "coco:" + root + "/x.json", None
    if not wds:
        return
    for n in NAMES + [LONG + ".txt", "ok.png"]:
        for kind, link in ((tarfile.REGTYPE, ""), (tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "../canary"), (tarfile.CHRTYPE, ""),
                           (tarfile.FIFOTYPE, ""), (tarfile.DIRTYPE, ""), (tarfile.SYMTYPE, n)):
            for end in (".png", ".txt", ""):
                try:
                    data = tar_with(n + end, kind, link, b"x")
                except (ValueError, UnicodeError):
                    continue
                s.put("in/x.tar", data)
                yield "tar: %r of type %r to %r" % (n[:40] + end, kind, link[:20]), "dataset", "wds:" + root + "/x.tar", None


def traced(s, report):
    """All opens of one more round under strace, against those of a harmless file."""
    if not shutil.which("strace"):
        print("strace is not there: opens are not looked at")
        return
    log = os.path.join(s.path, "strace.log")
    root = s.path + "/in"
    lines = []
    hostile = ["../canary.safetensors", "/etc/passwd", "/etc/passwd.safetensors", "../../canary", "x/../../canary.png", "../canary.png"]
    for i, n in enumerate(hostile):
        s.put("in/m%d/config.json" % i, "{}")
        s.put("in/m%d/model.safetensors.index.json" % i, js({"weight_map": {"one": n}}))
        s.put("in/s%d/set.json" % i, js({"checksums": {n: "0" * 64}}))
        s.put("in/c%d.json" % i, js({"images": [{"id": 1, "file_name": n}, {"id": 2, "file_name": "a.png"}],
                                     "annotations": [{"image_id": 1, "caption": "x"}, {"image_id": 2, "caption": "y"}]}))
        lines += ["model\t%s/m%d" % (root, i), "set\t%s/s%d" % (root, i), "dataset\tcoco:%s/c%d.json" % (root, i)]
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0", LSAN_OPTIONS="detect_leaks=0")
    p = subprocess.run(["strace", "-f", "-qq", "-e", "trace=open,openat,openat2,creat,mkdir,unlink,rename,symlink,link", "-o", log, sys.argv[1]],
                       input="\n".join(lines).encode() + b"\n", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
    if p.returncode:
        print("strace does not work here (%d): opens are not looked at" % p.returncode)
        return
    n = 0
    with open(log, errors="replace") as f:
        for line in f:
            m = re.search(r'(open|openat|openat2|creat|mkdir|unlink|rename|symlink|link)\((?:AT_FDCWD, )?"([^"]*)"(.*)', line)
            if not m:
                continue
            n += 1
            name = m[2]
            if "canary" in name or name.startswith("/etc/passwd") or ".." in name.replace(root, ""):
                if not re.search(r"/\.\./(src/)?(io|lib)", name):  # the module is looked for beside the program
                    report.fail("opened outside: " + line.strip()[:200])
            if m[1] in ("creat", "mkdir", "unlink", "rename", "symlink", "link") or "O_CREAT" in m[3]:
                if not name.startswith(("/dev/shm/sem", "/dev/null", "/proc")):
                    report.fail("written: " + line.strip()[:200])
    print("strace: %d opens looked at" % n)


def main():
    probe, report = Probe(together=True), Report("F7 paths")
    with Scratch() as s:
        for name in ("canary", "canary.png", "canary.safetensors", "in/canary.txt"):
            s.put(name, "the canary")
        ok = s.put("ok.tar", tar_with("a.cls", data=b"1"))
        wds = probe.ask("dataset", "wds:" + ok)
        if wds["code"] < 0:
            print("tar left out: " + wds["text"])
        before = None
        for title, kind, path, refuse in cases(s, probe, report, wds["code"] >= 0):
            before = snapshot(s.path) if before is None or report.n % 100 == 0 else before
            a = probe.ask(kind, path)
            report.judge(title, a, "refuse" if refuse else None)
            if "the canary" in a["text"]:
                report.fail(title + ": the message holds the canary")
            if report.n % 100 == 1:
                after = snapshot(s.path)
                new = [p for p in after if p not in before]
                gone = [p for p in before if p not in after]
                changed = [p for p in before if p in after and after[p] != before[p]]
                if new or gone or changed:
                    report.fail("%s: new %s, gone %s, changed %s" % (title, new[:3], gone[:3], changed[:3]))
                before = None
        names = {os.path.relpath(p, s.path) for p in snapshot(s.path)}
        known = {"canary", "canary.png", "canary.safetensors", "ok.tar", "in", "in/canary.txt", "in/model", "in/model/config.json",
                 "in/model/a.safetensors", "in/model/model.safetensors.index.json", "in/set", "in/set/image.npy", "in/set/set.json",
                 "in/a.png", "in/x.json", "in/x.tar"}
        for extra in sorted(names - known):
            report.fail("a file was made: " + extra)
        traced(s, report)
        return report.end(probe)


sys.exit(main())
