import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { idSchema } from "#core/ids.ts";
import type { Role } from "#core/protection/term.ts";
import { localDisks, type RemovalFacts, removalOf, removeDisks } from "./local-disks.ts";
import { type AttachBody, moveToKept, OperationFolder, prepareDirectory, sweepKept } from "./operation-folder.ts";

const vpgId = idSchema.parse("01k3s1te000000000000000001");
const idOf = (number: number) => idSchema.parse(`01k3s1te00000000000000010${number}`);

let directory = "";
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "farshore-disks-"));
  await prepareDirectory(directory);
});
afterEach(() => rmSync(directory, { recursive: true }));

/** An operation's folder with one disk that has 8 KiB on it. */
async function attached(number: number): Promise<OperationFolder> {
  const operationId = idOf(number);
  const body: AttachBody = {
    ...{ kind: "attach-volumes", operationId, vpgId, vpgName: "shop", mode: "live" },
    ...{ upTo: { session: 1, sequence: 9 }, checkpointId: "1-9" },
    volumes: [{ volume: 1, vmName: "db", name: "data", sizeBytes: 65_536, sectorBytes: 512 }],
  };
  const folder = new OperationFolder(directory, operationId);
  await folder.recordAttach(body);
  mkdirSync(folder.volumeFolder(1));
  writeFileSync(join(folder.volumeFolder(1), "data"), Buffer.alloc(8192, 1));
  await folder.recordAttached();
  return folder;
}

async function captured(number: number, term: number): Promise<OperationFolder> {
  const folder = await attached(number);
  await folder.recordPromoted(8192);
  await folder.recordCaptured(term);
  return folder;
}

async function kept(number: number, until: number): Promise<void> {
  const folder = await attached(number);
  await folder.recordDetached(until);
  await moveToKept(directory, folder);
}

const facts = (role: Role | "deleted", configured?: string): RemovalFacts => ({
  configured,
  roleOf: () => Promise.resolve(role),
});

describe("the disks that operations left", () => {
  it("are told with what they are now and what they take", async () => {
    await captured(1, 3);
    await captured(2, 5);
    await (await attached(3)).recordPromoted(8192);
    await attached(4);
    await kept(5, 1000);
    const found = await localDisks(directory);
    expect(found.map(({ operationId, state, term, keptUntil }) => [operationId, state, term, keptUntil])).toEqual([
      [idOf(1), "left", 3, null],
      [idOf(2), "protected", 5, null],
      [idOf(3), "promoted", null, null],
      [idOf(4), "attached", null, null],
      [idOf(5), "kept", null, 1000],
    ]);
    const [disk] = found[0]?.volumes ?? [];
    expect(disk).toMatchObject({ name: "db/data", sizeBytes: 65_536, writtenBytes: 8192 });
    expect(existsSync(disk?.path ?? "")).toBe(true);
  });

  it("of an earlier cycle go at any time, whatever the site says", async () => {
    const folder = await captured(1, 3);
    await captured(2, 5);
    const { disks, whileStopped } = await removalOf(directory, idOf(1), facts("Runs", "shop"));
    expect(whileStopped).toBe(false);
    await removeDisks(directory, disks);
    expect(existsSync(folder.path)).toBe(false);
    expect(readdirSync(join(directory, "kept"))).toEqual([]);
    expect((await localDisks(directory)).map(({ operationId }) => operationId)).toEqual([idOf(2)]);
  });

  it("are swept by the gateway when their removal was cut off", async () => {
    await moveToKept(directory, await captured(1, 3));
    expect(await localDisks(directory)).toEqual([]);
    await sweepKept(directory, 0);
    expect(readdirSync(join(directory, "kept"))).toEqual([]);
  });

  it.each<[Role | "deleted"]>([["Journal"], ["deleted"]])(
    "go while the gateway is stopped, once nobody needs them (%s)",
    async (role) => {
      await captured(1, 3);
      expect(await removalOf(directory, idOf(1), facts(role))).toMatchObject({ whileStopped: true });
      await (await attached(2)).recordPromoted(8192);
      expect(await removalOf(directory, idOf(2), facts(role))).toMatchObject({ whileStopped: true });
    },
  );

  it.each<[Role, RegExp]>([
    ["Runs", /in use/],
    ["Dark", /reverse protection will compare/],
    ["Retired", /reverse protection that is under way/],
    ["Preparing", /reverse protection that is under way/],
  ])("stay while the site's role is %s", async (role, message) => {
    await captured(1, 3);
    await expect(removalOf(directory, idOf(1), facts(role))).rejects.toThrow(message);
  });

  it("stay while older ones would be served in their place", async () => {
    await captured(1, 3);
    await expect(removalOf(directory, idOf(1), facts("Journal", "shop"))).rejects.toThrow(/\[source\]/);
    expect(await removalOf(directory, idOf(1), facts("Journal", "other"))).toMatchObject({ whileStopped: true });
  });

  it("stay while those of an earlier cycle would be served in their place", async () => {
    await captured(1, 2);
    await captured(2, 5);
    for (const role of ["Journal", "deleted"] as const) {
      const removal = removalOf(directory, idOf(2), facts(role));
      await expect(removal).rejects.toThrow(`remove the left ones first, ${idOf(1)}`);
    }
    await removeDisks(directory, (await removalOf(directory, idOf(1), facts("Journal"))).disks);
    expect(await removalOf(directory, idOf(2), facts("Journal"))).toMatchObject({ whileStopped: true });
  });

  it("stay while an operation is at them, or their scratch is kept", async () => {
    await attached(1);
    await kept(2, 86_400_000);
    await expect(removalOf(directory, idOf(1), facts("deleted"))).rejects.toThrow(/under way/);
    await expect(removalOf(directory, idOf(2), facts("deleted"))).rejects.toThrow(/until 1970-01-02/);
    await expect(removalOf(directory, idOf(3), facts("deleted"))).rejects.toMatchObject({ name: "NotFound" });
  });

  it("are not asked for at a site that doesn't answer", async () => {
    await captured(1, 3);
    const roleOf = () => Promise.reject(new Error("no answer"));
    await expect(removalOf(directory, idOf(1), { configured: undefined, roleOf })).rejects.toThrow("no answer");
  });
});
