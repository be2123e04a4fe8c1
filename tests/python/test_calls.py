"""Around the numbers: Ctrl-C, threads, forks, messages, memory."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

import numpy as np

import meridian as mrd
import support

CLIP = os.path.join(support.GOLDEN, "clip_vit_tiny")


def long_call():
    x = support.units(3000, 48)
    return mrd.geometry(x, x, bootstrap=1000000)


def send_soon(stop):
    """SIGINT again and again until somebody has heard of it."""
    while not stop.wait(0.2):
        os.kill(os.getpid(), signal.SIGINT)


class Interruptions(unittest.TestCase):
    def interrupted(self, call):
        stop = threading.Event()
        sender = threading.Thread(target=send_soon, args=(stop,))
        try:
            with self.assertRaises(KeyboardInterrupt):
                sender.start()
                try:
                    call()
                finally:
                    stop.set()
                    sender.join()
        except KeyboardInterrupt:  # a second one, on the way out
            stop.set()
            sender.join()

    def test_ctrl_c(self):
        self.interrupted(long_call)
        x = support.units(20, 4)
        self.assertEqual(mrd.geometry(x, x, bootstrap=0)["n_pairs"], 20)  # and everything works again

    def test_ctrl_c_while_encoding(self):
        m = mrd.Model(CLIP)
        pixels = np.zeros((256, 3, 32, 32), np.float32)

        def forever():
            while True:
                m.encode_images(pixels)

        self.interrupted(forever)
        self.assertEqual(m.encode_images(pixels[:1]).shape, (1, 24))

    def test_a_process_dies_of_it_as_usual(self):
        code = ("import sys, meridian as mrd, numpy as np; x = np.random.default_rng(0).normal(size=(3000, 48))\n"
                "print('ready', flush=True); mrd.geometry(x, x, bootstrap=1000000)")
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                 env=dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(mrd.__file__))))
        self.assertEqual(child.stdout.readline(), "ready\n")
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=120)
        self.assertIn("KeyboardInterrupt", said)
        self.assertEqual(child.returncode, -signal.SIGINT)

    def test_handlers_that_raise_something_else(self):
        class Late(Exception):
            pass

        def handler(*_):
            raise Late()

        before = signal.signal(signal.SIGALRM, handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with self.assertRaises(Late):
                long_call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def test_other_threads(self):
        """interrupt() ends a call that another thread makes, and no later one."""
        got = []

        def work():
            try:
                long_call()
            except mrd.Interrupted as e:
                got.append(e)

        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            mrd.interrupt()
            thread.join(0.05)
        self.assertEqual(len(got), 1)
        x = support.units(20, 4)
        mrd.interrupt()
        self.assertEqual(mrd.geometry(x, x, bootstrap=0)["n_pairs"], 20)


class Threads(unittest.TestCase):
    def test_two_threads(self):
        m = mrd.Model(CLIP, threads=1)
        pixels = np.random.default_rng(0).normal(size=(8, 3, 32, 32)).astype(np.float32)
        want, x = m.encode_images(pixels), support.units(30, 6)
        measured = mrd.retrieval(x, x, bootstrap=5)
        wrong = []

        def work(k):
            for _ in range(25):
                if k % 2 == 0 and not np.array_equal(m.encode_images(pixels), want):
                    wrong.append(k)
                if k % 2 and mrd.retrieval(x, x, bootstrap=5) != measured:
                    wrong.append(k)
                try:
                    mrd.loss("clip", x, x, tau=-k)
                except mrd.UsageError as e:
                    if f'"-{k}"' not in str(e):  # each thread reads its own message
                        wrong.append(str(e))

        threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
        for t in threads:
            t.start()
        work(5)
        for t in threads:
            t.join()
        self.assertEqual(wrong, [])

    def test_the_gil_is_free(self):
        """Python runs in one thread while another is in a long call."""
        done = threading.Event()

        def work():
            try:
                long_call()
            except mrd.Interrupted:
                done.set()

        thread = threading.Thread(target=work)
        thread.start()
        time.sleep(0.2)
        self.assertFalse(done.is_set())
        while thread.is_alive():
            mrd.interrupt()
            thread.join(0.05)
        self.assertTrue(done.is_set())

    def test_closing_under_a_call(self):
        """A model that is closed while it computes is freed when the call is over."""
        m = mrd.Model(CLIP)
        pixels = np.zeros((512, 3, 32, 32), np.float32)
        out = []
        thread = threading.Thread(target=lambda: out.append(m.encode_images(pixels).shape))
        thread.start()
        while m._handle.users == 0 and thread.is_alive():
            time.sleep(0.001)
        m.close()
        thread.join()
        self.assertEqual(out, [(512, 24)])
        with self.assertRaisesRegex(ValueError, "closed"):
            m.encode_images(pixels)


class Forks(unittest.TestCase):
    def child(self, code):
        done = subprocess.run([sys.executable, "-c", "import os, sys, meridian as mrd, numpy as np\n" + code], timeout=120, check=False,
                              capture_output=True, text=True, env=dict(os.environ, PYTHONPATH=os.path.dirname(os.path.dirname(mrd.__file__))))
        self.assertEqual((done.returncode, done.stdout), (0, "same\n"), done.stderr)

    def test_after_import_and_after_computing(self):
        self.child("x = np.random.default_rng(0).normal(size=(30, 6)).astype('f4')\n"
                   f"m = mrd.Model({CLIP!r})\n"
                   "pixels = np.zeros((2, 3, 32, 32))\n"
                   "def answer(): return mrd.retrieval(x, x, bootstrap=9), m.encode_images(pixels).tolist()\n"
                   "want = answer()\n"
                   "if os.fork() == 0: os._exit(0 if answer() == want and mrd.loss('clip', x, x)[0] > 0 else 1)\n"
                   "print('same' if os.wait()[1] == 0 and answer() == want else 'different')")
        self.child("x = np.random.default_rng(0).normal(size=(30, 6)).astype('f4')\n"
                   "if os.fork() == 0: os._exit(0 if mrd.retrieval(x, x, bootstrap=9) else 1)\n"
                   "print('same' if os.wait()[1] == 0 and mrd.retrieval(x, x, bootstrap=9) else 'different')")

    def test_pictures(self):
        """The picture library has threads and locks of its own."""
        name, folder = support.shipped(self), support.scratch(self)
        path = support.disc(os.path.join(folder, "red.png"), (220, 30, 40))
        self.child(f"m = mrd.Model({name!r}); want = m.encode_images([{path!r}] * 3).tolist()\n"
                   f"if os.fork() == 0: os._exit(0 if m.encode_images([{path!r}] * 3).tolist() == want else 1)\n"
                   "print('same' if os.wait()[1] == 0 else 'different')")

    def test_while_another_thread_computes(self):
        """What that thread held stays held in the child: an error there, not a wait without end."""
        self.child("import threading, time\n"
                   "x = np.random.default_rng(0).normal(size=(3000, 48))\n"
                   "def work():\n"
                   "    try: mrd.geometry(x, x, bootstrap=1000000)\n"
                   "    except mrd.Interrupted: pass\n"
                   "t = threading.Thread(target=work); t.start(); time.sleep(0.5)\n"
                   "if os.fork() == 0:\n"
                   "    try: mrd.retrieval(x[:9], x[:9])\n"
                   "    except mrd.UnsupportedError as e: os._exit(0 if 'forked' in str(e) else 1)\n"
                   "    os._exit(2)\n"
                   "status = os.wait()[1]\n"
                   "while t.is_alive(): mrd.interrupt(); t.join(0.05)\n"
                   "print('same' if status == 0 and mrd.retrieval(x[:9], x[:9]) else 'different')")

    def test_multiprocessing(self):
        x = support.units(30, 6, dtype=np.float32)
        want = mrd.retrieval(x, x, bootstrap=5)
        with multiprocessing.get_context("fork").Pool(2) as pool:
            got = [pool.apply(mrd.retrieval, (x, x), {"bootstrap": 5}) for _ in range(4)]
        self.assertEqual(got, [want] * 4)


class Messages(unittest.TestCase):
    def test_texts_that_are_cut(self):
        m = mrd.Model(support.shipped(self))
        with self.assertLogs("meridian", logging.WARNING) as log:
            m.encode_texts(["short", "word " * 200])
        self.assertIn("1 of 2 texts", log.output[0])
        with self.assertLogs("meridian", logging.WARNING) as log:
            m.tokenize(["word " * 200])
        self.assertIn("1 of 1 texts", log.output[0])

    def test_handlers_may_call_back(self):
        m = mrd.Model(support.shipped(self))
        seen = []

        class Handler(logging.Handler):
            def emit(self, record):
                seen.append(m.encode_texts(["a"]).shape)

        handler = Handler()
        logging.getLogger("meridian").addHandler(handler)
        try:
            m.encode_texts(["word " * 200])
        finally:
            logging.getLogger("meridian").removeHandler(handler)
        self.assertEqual(seen, [(1, m.width)])


class Memory(unittest.TestCase):
    def flat(self, call, times):
        with open("/proc/self/statm", encoding="ascii") as statm:
            def resident():
                statm.seek(0)
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

            for _ in range(times // 10):
                call()
            before = resident()
            for _ in range(times):
                call()
            self.assertLess(resident() - before, 3 << 20)

    def setUp(self):
        if os.environ.get("LD_PRELOAD", ""):
            self.skipTest("a sanitizer keeps what is freed")

    def test_losses(self):
        x = support.units(8, 16)
        self.flat(lambda: mrd.loss("clip", x, x), 10000)

    def test_refusals(self):
        x = support.units(8, 16)

        def wrong():
            try:
                mrd.loss("clip", x, x, tau=-1)
            except mrd.UsageError:
                pass

        self.flat(wrong, 10000)

    def test_measures(self):
        x = support.units(8, 4)
        self.flat(lambda: mrd.retrieval(x, x, bootstrap=0), 2000)

    def test_vectors(self):
        m = mrd.Model(CLIP, threads=1)
        pixels = np.zeros((1, 3, 32, 32), np.float32)
        self.flat(lambda: m.encode_images(pixels), 2000)

    def test_models(self):
        self.flat(lambda: mrd.Model(CLIP, threads=1).width, 300)


if __name__ == "__main__":
    unittest.main()
