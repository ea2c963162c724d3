// What a browser has to load, compressed as a proxy would; more than 60 KB is a failure.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const MOST = 60 * 1_024;
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PAGE = join(ROOT, "src/interfaces/http/page");

const compressed = (file) => gzipSync(readFileSync(file), { level: 9 }).length;

export function size() {
  const files = readdirSync(PAGE, { recursive: true }).filter((name) => /\.(html|js|css|svg)$/.test(name));
  const page = files.reduce((sum, name) => sum + compressed(join(PAGE, name)), 0);
  return page + compressed(join(ROOT, "sdk-js/src/index.mjs"));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const bytes = size();
  console.log(`The page is ${(bytes / 1_024).toFixed(1)} KB compressed, of 60 KB that it may be.`);
  process.exitCode = bytes > MOST ? 1 : 0;
}
