import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BundledFunctions, bundleFunctions } from "./bundle-functions.ts";
import { functionFolders, handlerFile } from "./folders.ts";

const folder = mkdtempSync(join(tmpdir(), "farshore-bundles-"));
let bundles: BundledFunctions;
beforeAll(async () => {
  bundles = await bundleFunctions(folder);
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Services that a function speaks to while batches flow and while it fails over: data planes, no control plane. */
const dataPlanes = ["client-dynamodb", "client-eventbridge", "client-s3", "client-sfn"];

function inputsOf(name: string): string[] {
  const entry = Object.entries(bundles.metafile.outputs).find(([, { entryPoint }]) => entryPoint === `lambda:${name}`);
  return Object.keys(entry?.[1].inputs ?? {});
}

describe("bundles", () => {
  it("are one for each function, and no larger than is worth loading", () => {
    const sizes = functionFolders.map((name) => {
      const { size } = statSync(join(bundles.folderOf(name), "index.mjs"));
      return { name, KiB: Math.round(size / 1024) };
    });
    console.info(`Bundles, KiB: ${sizes.map(({ name, KiB }) => `${name} ${KiB}`).join(", ")}`);
    // The largest has every route for people; half of it is zod and the clients of AWS.
    expect(sizes.filter(({ KiB }) => KiB > 1280)).toEqual([]);
  });

  it.each(functionFolders)("%s has its handler, opens its site first, and speaks to data planes only", (name) => {
    const inputs = inputsOf(name);
    expect(inputs).toContain(handlerFile(name));
    expect(inputs).toContain("functions/shared/on-lambda.ts");
    expect(inputs.filter((path) => /\/zod\/.*locales\/(?!en\.js)/.test(path))).toEqual([]);
    const clients = inputs.flatMap((path) => /node_modules\/@aws-sdk\/(client-[a-z0-9-]+)\//.exec(path)?.[1] ?? []);
    expect([...new Set(clients)].filter((client) => !dataPlanes.includes(client))).toEqual([]);
  });
});
