"""tests/hostile/hostile.py: what the tests of this folder share: a scratch folder, the probe, the count at the end."""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile


def js(o):
    return json.dumps(o, separators=(",", ":")).encode()


class Probe:
    """Asks the probe program (argv[1]) about files; each answer is a dict."""

    def __init__(self, together=False):
        self.together = together
        self.start()

    def start(self):
        self.p = subprocess.Popen([sys.argv[1]] + (["--together"] if self.together else []), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)

    def ask(self, kind, path):
        try:
            self.p.stdin.write(("%s\t%s\n" % (kind, path)).encode())
            self.p.stdin.flush()
            line = self.p.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            self.start()
            return {"how": "the program died", "code": 0, "kib": 0, "ms": 0, "text": ""}
        how, code, kib, ms, text = line.rstrip(b"\n").split(b"\t", 4)
        return {"how": how.decode(), "code": int(code), "kib": int(kib), "ms": float(ms),
                "text": text.decode("utf-8", "backslashreplace"), "utf8": text == text.decode("utf-8", "replace").encode()}

    def close(self):
        self.p.stdin.close()
        return self.p.wait()


class Report:
    """Counts verdicts and failures; `end` prints the line that tools/hostile-counts reads."""

    def __init__(self, title):
        self.title = title
        self.n = self.accepted = self.refused = self.failures = 0
        self.most_kib = self.most_ms = 0

    def fail(self, what):
        self.failures += 1
        if self.failures <= 40:
            print("FAILED " + what)

    def judge(self, name, a, want=None, says=(), most_kib=None):
        """want: 'accept', 'refuse' or None (either); says: words the refusal must hold."""
        self.n += 1
        self.most_kib = max(self.most_kib, a["kib"])
        self.most_ms = max(self.most_ms, a["ms"])
        verdict = "accept" if a["code"] >= 0 else "refuse"
        if a["how"] != "ok":
            self.fail("%s: %s" % (name, a["how"]))
            return
        self.accepted += verdict == "accept"
        self.refused += verdict == "refuse"
        if want and verdict != want:
            self.fail("%s: %s, expected %s (%s)" % (name, verdict, want, a["text"][:200]))
        if verdict == "refuse":
            if not a["text"] or not a["utf8"]:
                self.fail("%s: no message, or a garbled one" % name)
            for w in says:
                if w not in a["text"]:
                    self.fail("%s: the message does not say \"%s\": %s" % (name, w, a["text"][:300]))
        if most_kib and a["kib"] > most_kib:
            self.fail("%s: %d KiB, expected at most %d" % (name, a["kib"], most_kib))

    def end(self, probe, extra=""):
        rc = probe.close() if probe else 0
        if rc:
            self.fail("the probe ended with %d" % rc)
        print("hostile: %s: %d files, %d accepted, %d refused, %d failures, peak %d MiB, slowest %d ms%s" % (
            self.title, self.n, self.accepted, self.refused, self.failures, self.most_kib // 1024, self.most_ms, extra))
        return 1 if self.failures else 0


class Scratch:
    """A folder in memory where there is one, removed at the end."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="meridian-hostile-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        return self

    def __exit__(self, *a):
        shutil.rmtree(self.path, ignore_errors=True)

    def put(self, name, data):
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())
        return path

    def dir(self, name):
        path = os.path.join(self.path, name)
        os.makedirs(path, exist_ok=True)
        return path


def st(header, data=b""):
    """A safetensors file of a header (bytes or an object) and data."""
    if not isinstance(header, bytes):
        header = js(header)
    return struct.pack("<Q", len(header)) + header + data


def seeds(name):
    """Files of fuzz/seeds/NAME, as (file, bytes)."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "fuzz", "seeds", name)
    return [(f, open(os.path.join(folder, f), "rb").read()) for f in sorted(os.listdir(folder))]


def parts(data):
    return data.split(b"\n%%\n")
