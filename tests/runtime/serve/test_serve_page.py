"""The page at / in a headless Chromium, where there is one: a picture that is chosen, one that is dropped, what is no picture."""
import base64
import json
import os
import sys
import unittest

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")]
from browser import CHROMIUM, Browser
from server import Server
from support import Case, plain_png

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


def show(browser, file, drop):
    return json.loads(browser.value(SHOW % (base64.b64encode(file).decode(), json.dumps(drop))))


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
        shown = show(browser, plain_png(250, 5, 5), False)
        self.assertEqual(browser.value("document.title"), "a <b> & \"c\"/d")
        self.assertEqual(shown["said"], "")
        self.assertEqual(shown["rows"][:2], [["100.00 %", "red"], ["0.00 %", "dark \"night\""]])
        self.assertEqual(len(shown["rows"]), 5)
        self.assertEqual(show(browser, plain_png(5, 5, 250), True)["rows"][0][1], "blue")
        wrong = show(browser, b"hello", True)
        self.assertEqual(wrong, {"rows": [], "said": "input 'image': image 0: not a JPEG, PNG or WebP file"})
        self.assertEqual(show(browser, plain_png(5, 250, 5), False)["rows"][0][1], "green")
        self.assertTrue(browser.value("document.getElementById('picture').naturalWidth === 20"))

    def test_probabilities(self):
        rows = show(self.pages("fake_softmax_nhwc"), plain_png(255, 0, 0), True)["rows"]
        self.assertEqual(rows[0], ["100.00 %", "red"])


if __name__ == "__main__":
    unittest.main()
