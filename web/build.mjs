// Bundles each page's script and style into ../assets, where Python reads them: one file each,
// not minified, so that a saved page can be read. `node build.mjs FOLDER` writes elsewhere, for the
// test that compares. The first line of a bundle is a digest of everything in the source folders.

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "..", "assets");

/** What is bundled: the source's entry -> the bundle's name, without extension. */
const ENTRIES = {
  "viewer/main.js": "viewer/viewer",
  "viewer/viewer.css": "viewer/viewer",
  "typing/typing.js": "viewer/typing",
  "method/main.js": "method/method",
  "method/method.css": "method/method",
  "put_back/words.js": "put_back/words",
  "put_back/words.css": "put_back/words",
};

const sources = readdirSync(here, { recursive: true })
  .map((name) => name.replaceAll("\\", "/"))
  .filter((name) => /^(?!node_modules).*\/.*\.(js|css)$/.test(name))
  .sort();
const digest = createHash("sha256");
for (const name of sources) digest.update(`${name}\n`).update(readFileSync(join(here, name)));
const stamp = `Built from web/ by "make web"; sources ${digest.digest("hex").slice(0, 16)}.`;

await build({
  absWorkingDir: here,
  entryPoints: Object.entries(ENTRIES).map(([from, to]) => ({ in: from, out: to })),
  outdir: out,
  bundle: true,
  format: "esm",
  charset: "utf8",
  target: "es2022",
  legalComments: "none",
  banner: { js: `// ${stamp}`, css: `/* ${stamp} */` },
  logLevel: "warning",
});
