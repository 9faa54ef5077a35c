import { rmSync } from "node:fs";
import { join } from "node:path";
import { build, type Metafile, type Plugin } from "esbuild";
import { functionFolders, handlerFile, root } from "./folders.ts";

export interface BundledFunctions {
  /** The folder of each function's files: index.mjs and its source map. */
  readonly folderOf: (name: string) => string;
  /** esbuild's account of what went into each bundle; a function's entry point is `lambda:<its folder>`. */
  readonly metafile: Metafile;
}

/** Opens the site and hands it to the handlers; runs once in each environment, before the handler's own module. */
const onLambda = "functions/shared/on-lambda.ts";

const quoted = (path: string): string => JSON.stringify(`./${path}`);

/** A function's entry: first the site, then its handler, so that a handler knows nothing of where it runs. */
const entries: Plugin = {
  name: "lambda",
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^lambda:/ }, ({ path }) => ({ path: path.slice("lambda:".length), namespace: "lambda" }));
    onLoad({ filter: /.*/, namespace: "lambda" }, ({ path }) => ({
      contents: `import ${quoted(onLambda)};\nexport { handler } from ${quoted(handlerFile(path))};\n`,
      resolveDir: root,
    }));
  },
};

/** zod carries its messages in fifty languages, a quarter of each bundle; nothing here asks for another than its default. */
const englishOnly: Plugin = {
  name: "english-only",
  setup: ({ onResolve }) => {
    onResolve({ filter: /^\.\.\/locales\/index\.js$/ }, ({ resolveDir }) =>
      resolveDir.includes("/zod/") ? { path: join(resolveDir, "../locales/en.js") } : undefined,
    );
  },
};

/**
 * Bundles every function into `directory`, in one run of esbuild; each bundle stands alone. The SDK is in it: the runtime's own
 * is another version tomorrow, and slower to load whole than the shaken part of it (docs/performance.md). `external` leaves packages out.
 */
export async function bundleFunctions(directory: string, external: string[] = []): Promise<BundledFunctions> {
  rmSync(directory, { recursive: true, force: true });
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: functionFolders.map((name) => ({ in: `lambda:${name}`, out: `${name}/index` })),
    plugins: [entries, englishOnly],
    outdir: directory,
    outExtension: { ".js": ".mjs" },
    external,
    bundle: true,
    platform: "node",
    target: "node24",
    format: "esm",
    // The SDK's CommonJS half can't be shaken.
    mainFields: ["module", "main"],
    minify: true,
    // Error names are contracts: Step Functions matches them.
    keepNames: true,
    sourcemap: "linked",
    sourcesContent: false,
    legalComments: "linked",
    metafile: true,
    // CommonJS packages inside the bundle ask for require().
    banner: {
      js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
    },
    logLevel: "warning",
  });
  return { folderOf: (name) => join(directory, name), metafile };
}
