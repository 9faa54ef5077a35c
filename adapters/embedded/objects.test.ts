import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { objectsContract } from "../../test/contract/objects.ts";
import { FileObjects } from "./objects.ts";

objectsContract("FileObjects", async () => {
  const root = await mkdtemp(join(tmpdir(), "farshore-objects-"));
  return {
    objects: await FileObjects.open(root),
    other: await FileObjects.open(root),
    dispose: () => rm(root, { recursive: true }),
  };
});
