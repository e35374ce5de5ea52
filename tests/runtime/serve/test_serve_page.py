"""The page at / in a headless Chromium, where there is one: a picture that is chosen, one that is dropped, what is no picture. Driven by
the DevTools protocol over two pipes: JSON, each message ended by a 0 byte."""
import base64
import json
import os
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server import Server
from support import Case, plain_png

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Puts a file where a person would, and waits for what the page shows.
SHOW = """new Promise((done, fail) => {
    const file = new File([Uint8Array.from(atob('%s'), c => c.charCodeAt(0))], 'picture.png'), data = new DataTransfer();
    data.items.add(file);
    if (%s) {
        document.body.dispatchEvent(new DragEvent('drop', {bubbles: true, cancelable: true, dataTransfer: data}));
    } else {
        const input = document.getElementById('file');
        input.files = data.files;
        input.dispatchEvent(new Event('change'));
    }
    const shown = () => [...document.querySelectorAll('#classes tr')].map(r => [...r.cells].map(c => c.textContent));
    const end = Date.now() + 20000, look = () => {
        const said = document.getElementById('said').textContent;
        if (shown().length || said.length > 3) done(JSON.stringify({rows: shown(), said: said}));
        else if (Date.now() > end) fail(new Error('nothing is shown'));
        else setTimeout(look, 20);
    };
    setTimeout(look, 20);
})"""


class Browser:
    def __init__(self, folder):
        to_browser, self.to = os.pipe()
        self.back, from_browser = os.pipe()

        def hand_over():
            os.dup2(to_browser, 10)
            os.dup2(from_browser, 11)
            os.dup2(10, 3)
            os.dup2(11, 4)

        self.process = subprocess.Popen([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                                         "--user-data-dir=" + folder, "--remote-debugging-pipe", "about:blank"],
                                        preexec_fn=hand_over, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.left, self.id, self.problems = b"", 0, []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.ask("Runtime.enable")

    session = None

    def ask(self, method, **parameters):
        self.id += 1
        message = {"id": self.id, "method": method, "params": parameters, **({"sessionId": self.session} if self.session else {})}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.left:
                data = os.read(self.back, 1 << 16)
                assert data, "the browser ended"
                self.left += data
            text, self.left = self.left.split(b"\0", 1)
            reply = json.loads(text)
            if reply.get("method") == "Runtime.exceptionThrown":
                self.problems.append(reply["params"])
            if reply.get("id") == self.id:
                assert "error" not in reply, (method, reply)
                return reply["result"]

    def value(self, expression):
        result = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, url):
        self.ask("Page.enable")
        self.ask("Page.navigate", url=url)
        self.value("new Promise(done => { const look = () => document.readyState === 'complete' && location.href !== 'about:blank' ? "
                   "done(true) : setTimeout(look, 20); look(); })")

    def show(self, file, drop):
        return json.loads(self.value(SHOW % (base64.b64encode(file).decode(), json.dumps(drop))))

    def end(self):
        self.process.terminate()
        self.process.wait(timeout=30)
        os.close(self.to)
        os.close(self.back)


@unittest.skipUnless(CHROMIUM, "there is no chromium")
class Page(Case):
    def pages(self, program, *args):
        browser = Browser(self.path("profile-" + program))
        self.addCleanup(browser.end)
        server = Server(program, *args)
        self.addCleanup(lambda: self.assertEqual(server.stop(), (0, "")))
        browser.open(f"http://127.0.0.1:{server.port}/")
        self.addCleanup(lambda: self.assertEqual(browser.problems, []))
        return browser

    def test_logits(self):
        browser = self.pages("fake", "--name", "a <b> & \"c\"/d")
        shown = browser.show(plain_png(250, 5, 5), False)
        self.assertEqual(browser.value("document.title"), "a <b> & \"c\"/d")
        self.assertEqual(shown["said"], "")
        self.assertEqual(shown["rows"][:2], [["100.00 %", "red"], ["0.00 %", "dark \"night\""]])
        self.assertEqual(len(shown["rows"]), 5)
        self.assertEqual(browser.show(plain_png(5, 5, 250), True)["rows"][0][1], "blue")
        wrong = browser.show(b"hello", True)
        self.assertEqual(wrong, {"rows": [], "said": "input 'image': image 0: not a JPEG, PNG or WebP file"})
        self.assertEqual(browser.show(plain_png(5, 250, 5), False)["rows"][0][1], "green")
        self.assertTrue(browser.value("document.getElementById('picture').naturalWidth === 20"))

    def test_probabilities(self):
        rows = self.pages("fake_softmax_nhwc").show(plain_png(255, 0, 0), True)["rows"]
        self.assertEqual(rows[0], ["100.00 %", "red"])


if __name__ == "__main__":
    unittest.main()
