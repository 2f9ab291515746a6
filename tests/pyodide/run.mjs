// Runs pytest inside Pyodide: CPython for WebAssembly, here in Node, as a stand-in for a browser.
//
// node run.mjs PYODIDE PACKAGES CHECKOUT ARGUMENT...
//
//   PYODIDE   directory of the npm package
//   PACKAGES  directory with pytest and hypothesis
//   CHECKOUT  root of timesync; nothing is written to it
//   ARGUMENT  of pytest
import path from "node:path";
import { pathToFileURL } from "node:url";

const [home, packages, checkout, ...words] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(path.join(home, "pyodide.mjs")).href);
const program = `
import os, sys

# The profiles are plain files, and with them lies the list of leap seconds.
sys.path[:0] = ["/checkout", "/checkout/profiles", "/packages"]
# What a pure package must never load; also out of reach if it lay there.
absent = ("cryptography", "OpenSSL", "timesync_drivers", "timesync.runtime", "timesync.daemon")
os.chdir("/checkout")

import pytest

class Watch:
    def pytest_sessionfinish(self, session):
        loaded = [name for name in absent if name in sys.modules]
        if loaded:
            print("loaded under Pyodide:", loaded)
            session.exitstatus = 1

print("Python", sys.version.split()[0], "on", sys.platform)
int(pytest.main([*words, "-p", "no:cacheprovider", "-p", "no:faulthandler"], plugins=[Watch()]))
`;

const python = await loadPyodide({ indexURL: home, env: { PYTHONDONTWRITEBYTECODE: "1", HOME: "/home/pyodide" } });

for (const [place, directory] of [
  ["/packages", packages],
  ["/checkout", checkout],
]) {
  python.mountNodeFS(place, directory);
}
python.globals.set("words", python.toPy(words));
try {
  process.exitCode = python.runPython(program);
} catch (error) {
  // Not the error itself: Node would print the line of minified script that it was thrown from.
  console.error(error.message);
  process.exitCode = 1;
}
