/** Builds `dist/`: the whole program as ES modules that need nothing but Node; `npm pack` ships it (package.json, "files"). */
import { rmSync } from "node:fs";
import { build } from "esbuild";

const root = new URL("..", import.meta.url).pathname;
const workers = [
  "gateway/ship/ship-worker.ts",
  "gateway/sync/hash-worker.ts",
  "gateway/export/write-worker.ts",
  "cli/site/window-worker.ts",
];

rmSync(`${root}dist`, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  entryPoints: [
    { in: "scripts/launch.mjs", out: "farshore" },
    ...workers.map((file) => ({ in: file, out: file.split("/").at(-1)?.replace(/\.ts$/, "") ?? file })),
  ],
  outdir: "dist",
  outExtension: { ".js": ".mjs" },
  bundle: true,
  // Workers and lazily loaded commands share their code; every file lands flat in dist/, where `new URL(..., import.meta.url)` finds it.
  splitting: true,
  chunkNames: "chunk-[hash]",
  platform: "node",
  target: "node22.18",
  format: "esm",
  // Error names are contracts.
  keepNames: true,
  sourcemap: "linked",
  legalComments: "linked",
  // CommonJS packages inside the bundle ask for require().
  banner: {
    js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
  },
  logLevel: "warning",
});
