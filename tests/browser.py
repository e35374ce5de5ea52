"""A headless Chromium for tests that look at pages, where there is one: driven by the DevTools protocol over two pipes, JSON, each message
ended by a 0 byte."""
import json
import os
import shutil
import subprocess

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


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

    def size(self, width, height):
        """Of the page that is shown, in pixels."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def end(self):
        self.process.terminate()
        self.process.wait(timeout=30)
        os.close(self.to)
        os.close(self.back)
