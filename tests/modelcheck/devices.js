// Devices with npm's tuf-js: one process for all of them, since each has its own metadata directory.
//
// A request a line on stdin, an answer a line on stdout, both JSON. {"directory", "url", "now", "root"?} refreshes the
// client in that directory at that time; `root` (base64) is what the device came from the factory with.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const readline = require("node:readline");
const { createRequire } = require("node:module");

// The packages are not beside this file but where the set-up of the tests installed them: the one argument.
const { Updater } = createRequire(path.join(process.argv[2], "package.json"))("tuf-js");

// tuf-js reads the clock with `new Date()`. Ours stands still at the time of the request; nothing else is changed.
const RealDate = Date;
let now = 0;
globalThis.Date = class extends RealDate {
  constructor(...given) {
    super(...(given.length ? given : [now * 1000]));
  }
  static now() {
    return now * 1000;
  }
};

async function refresh({ directory, url, root }) {
  if (root) {
    fs.mkdirSync(directory, { recursive: true });
    fs.writeFileSync(path.join(directory, "root.json"), Buffer.from(root, "base64"));
  }
  const updater = new Updater({ metadataDir: directory, metadataBaseUrl: url, config: { fetchRetry: 0 } });
  await updater.refresh();
  const { root: trusted, timestamp, snapshot, targets } = updater.trustedSet;
  return {
    versions: [trusted, timestamp, snapshot, targets].map((metadata) => metadata.signed.version),
    targets: Object.fromEntries(
      Object.values(targets.signed.targets).map((target) => [target.path, target.custom.hardwareIds]),
    ),
  };
}

function told(error) {
  const causes = [];
  for (let at = error; at; at = at.cause) causes.push(`${at.name ?? "Error"}: ${at.message ?? at}`);
  return causes.join(" <- ");
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    now = request.now;
    let answer;
    try {
      answer = await refresh(request);
    } catch (error) {
      answer = { error: error.constructor.name, message: told(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
})();
