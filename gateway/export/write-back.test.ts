import { expect, it } from "vitest";
import { writeBackBytes } from "./limits.ts";
import { WriteBack } from "./write-back.ts";

/** A file whose syncs end when the test says so. */
function slowFile() {
  const syncs: PromiseWithResolvers<void>[] = [];
  const datasync = (): Promise<void> => {
    const sync = Promise.withResolvers<void>();
    syncs.push(sync);
    return sync.promise;
  };
  return { syncs, writeBack: new WriteBack({ datasync }) };
}

it("begins when enough was written, one at a time, and is waited for", async () => {
  const { syncs, writeBack } = slowFile();
  await writeBack.end();
  writeBack.written(writeBackBytes - 1);
  expect(syncs).toHaveLength(0);
  writeBack.written(writeBackBytes);
  writeBack.written(3 * writeBackBytes);
  expect(syncs).toHaveLength(1);
  let ended = false;
  const end = writeBack.end().then(() => {
    ended = true;
  });
  await new Promise(setImmediate);
  expect(ended).toBe(false);
  syncs[0]?.resolve();
  await end;
  writeBack.written(3 * writeBackBytes);
  expect(syncs).toHaveLength(2);
  syncs[1]?.resolve();
  await writeBack.end();
});

it("tells the error of an early one at the end, though a later one might succeed", async () => {
  const { syncs, writeBack } = slowFile();
  writeBack.written(writeBackBytes);
  syncs[0]?.reject(new Error("EIO"));
  await new Promise(setImmediate);
  writeBack.written(5 * writeBackBytes);
  expect(syncs).toHaveLength(1);
  await expect(writeBack.end()).rejects.toThrow("EIO");
});
