import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { DirectoryInUse, NotFound, Transient } from "#core/errors.ts";
import { type Id, idSchema } from "#core/ids.ts";
import type { Position } from "#core/journal/position.ts";
import { operationId } from "../../test/kit/batches.ts";
import { BucketRoutes } from "../../test/kit/journal-routes.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { type RandomJournal, randomJournal } from "../../test/kit/random-journal.ts";
import { commandsOf, openKit, recordingHooks, runCommand } from "../../test/kit/recovery.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { VirtualClock } from "../../test/kit/virtual-clock.ts";
import type { VmHooks } from "../config.ts";
import { lockDisk } from "../disk/disk-lock.ts";
import { NbdClient } from "../nbd/client.ts";
import { parseNbdUri } from "../nbd/uri.ts";
import type { RecoveryHalf } from "../recovery-half.ts";
import { HttpJournal } from "./http-journal.ts";
import { exportKept, keptScratches } from "./kept-scratch.ts";

const sizes = new Map([
  [1, 3 * chunkBytes + 1536],
  [2, chunkBytes],
]);

let folder = "";
let journal: RandomJournal;
let routes: BucketRoutes;
let clock: VirtualClock;
let log: QuietLog;
let half: RecoveryHalf;
let hooks: Map<string, VmHooks>;
let commands: ReturnType<typeof commandsOf>;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "fs-rec-"));
  journal = await randomJournal(new SeededRandom(3), sizes);
  routes = new BucketRoutes(journal.objects);
  clock = new VirtualClock();
  log = new QuietLog();
  hooks = new Map([["db", recordingHooks("db")]]);
  commands = commandsOf(journal.upTo, sizes);
  half = await start();
});

afterEach(async () => {
  await half.close();
  await rm(folder, { recursive: true, force: true });
});

async function start(): Promise<RecoveryHalf> {
  const opened = await openKit({ folder, objects: journal.objects, hooks, clock, log, routes });
  await opened.resume();
  return opened;
}

async function restart(): Promise<void> {
  await half.close();
  half = await start();
}

async function client(exports: unknown, volume: number): Promise<NbdClient> {
  const uri = new Map(Object.entries(Object(exports))).get(String(volume));
  const { address, exportName } = parseNbdUri(String(uri));
  return NbdClient.connect(address, exportName);
}

async function readVolume(exports: unknown, volume: number): Promise<Buffer> {
  const nbd = await client(exports, volume);
  const bytes = await nbd.read(0, nbd.sizeBytes);
  await nbd.disconnect();
  return bytes;
}

const hookLog = async (): Promise<string[]> =>
  (await readFile(path.join(folder, "hooks.log"), "utf8").catch(() => "")).trim().split("\n");

const inDirectory = (name: string): Promise<string[]> => readdir(path.join(folder, "recovery", name));

describe("recovery half", () => {
  it("exports the checkpoint's images, and the same again when asked again and after a restart", async () => {
    const { exports } = await runCommand(half, commands.attach);
    const socket = path.join(folder, "recovery", "s", `${operationId.slice(-10)}.sock`);
    expect(exports).toEqual({
      1: `nbd+unix:///shop/db/data?socket=${socket}`,
      2: `nbd+unix:///shop/db/log-disk?socket=${socket}`,
    });
    for (const [volume, image] of journal.images) expect((await readVolume(exports, volume)).equals(image)).toBe(true);
    expect(await runCommand(half, commands.attach)).toEqual({ exports });
    await restart();
    expect(half.attachedOperations()).toEqual([operationId]);
    for (const [volume, image] of journal.images) expect((await readVolume(exports, volume)).equals(image)).toBe(true);
    expect(await runCommand(half, commands.attach)).toEqual({ exports });
  });

  it("keeps what guests wrote over a restart, also without the journal", async () => {
    const { exports } = await runCommand(half, commands.attach);
    const nbd = await client(exports, 1);
    await nbd.write(chunkBytes - 512, Buffer.alloc(1024, 0x61), { fua: true });
    await nbd.disconnect();
    await restart();
    routes.failures.push(new NotFound("gone"));
    const again = await client(exports, 1);
    expect((await again.read(chunkBytes - 512, 1024)).equals(Buffer.alloc(1024, 0x61))).toBe(true);
    await again.disconnect();
  });

  it("fails the command, not a guest, when the journal can't be read", async () => {
    routes.failures.push(new NotFound("no such VPG"));
    await expect(runCommand(half, commands.attach)).rejects.toThrow("no such VPG");
    const { exports } = await runCommand(half, commands.attach);
    expect((await readVolume(exports, 2)).equals(journal.images.get(2) ?? Buffer.alloc(0))).toBe(true);
  });

  it("refuses another checkpoint for an operation that has one", async () => {
    await runCommand(half, commands.attach);
    const other = { ...commands.attach, upTo: { ...commands.attach.upTo, sequence: 1 } };
    await expect(runCommand(half, other)).rejects.toThrow("detach them first");
  });

  it("keeps what was written at each checkpoint of a retargeted operation, and exports it read-only", async () => {
    const first = await runCommand(half, commands.attach);
    const nbd = await client(first["exports"], 1);
    await nbd.write(4096, Buffer.alloc(8192, 0x61), { fua: true });
    await nbd.disconnect();
    await runCommand(half, commands.detachKeep);
    const early = { session: commands.attach.upTo.session, sequence: 1 };
    await runCommand(half, { ...commands.attach, upTo: early, checkpointId: "1-1" });
    await runCommand(half, commands.detachKeep);

    const directory = path.join(folder, "recovery");
    const kept = await keptScratches(directory);
    expect(kept.map(({ number, checkpointId, keptUntil }) => [number, checkpointId, keptUntil])).toEqual([
      [1, commands.attach.checkpointId, clock.now() + 3_600_000],
      [2, "1-1", clock.now() + 3_600_000],
    ]);
    expect(kept[0]?.volumes.map(({ name, writtenBytes }) => [name, writtenBytes > 0])).toEqual([
      ["db/data", true],
      ["db/log-disk", false],
    ]);

    const socketPath = path.join(folder, "left.sock");
    const openJournal = (vpgId: Id, upTo: Position): HttpJournal =>
      new HttpJournal({ routes, vpgId, upTo, clock, random: new SystemRandom(), log });
    const ask = { directory, operationId, volume: "db/data", socketPath, journal: openJournal, log };
    const exported = await exportKept({ ...ask, number: 1 });
    const wanted = Buffer.from(journal.images.get(1) ?? []);
    wanted.fill(0x61, 4096, 4096 + 8192);
    expect((await readVolume({ 1: exported.uri }, 1)).equals(wanted)).toBe(true);
    const reader = await client({ 1: exported.uri }, 1);
    await expect(reader.write(0, Buffer.alloc(512), { fua: true })).rejects.toThrow();
    await reader.disconnect().catch(() => undefined);
    await exported.close();

    await expect(exportKept({ ...ask, volume: "db/none" })).rejects.toMatchObject({ name: "NotFound" });
    await expect(exportKept({ ...ask, number: 3 })).rejects.toMatchObject({ name: "NotFound" });
    await clock.advance(3_600_001);
    await restart();
    expect(await keptScratches(directory)).toEqual([]);
  });

  it("boots each VM once, with its disks in the environment", async () => {
    const { exports } = await runCommand(half, commands.attach);
    expect(await runCommand(half, commands.boot)).toEqual({ booted: ["db"], withoutHook: ["web"] });
    await restart();
    expect(await runCommand(half, commands.boot)).toEqual({ booted: ["db"], withoutHook: ["web"] });
    expect(await hookLog()).toEqual([`boot db live ${commands.attach.checkpointId}`]);
    const environment = await readFile(path.join(folder, "db.env"), "utf8");
    const uris = Object(exports);
    expect(environment).toContain(`FARSHORE_DISK_DATA=${uris[1]}\nFARSHORE_DISK_LOG_DISK=${uris[2]}\n`);
    expect(environment).toContain(`FARSHORE_OPERATION=${operationId}\n`);
    expect(environment).toContain("FARSHORE_VPG=shop\n");
  });

  it("needs attached volumes to boot", async () => {
    await expect(runCommand(half, commands.boot)).rejects.toThrow("no volumes attached");
  });

  it("reports a boot hook that fails and runs it again when asked again", async () => {
    hooks.set("db", { boot: ["/bin/sh", "-c", "echo no luck; exit 1"], timeoutMs: 5000 });
    await runCommand(half, commands.attach);
    await expect(runCommand(half, commands.boot)).rejects.toThrow("the boot hook of db ended with status 1: no luck");
    hooks.set("db", recordingHooks("db"));
    expect(await runCommand(half, commands.boot)).toMatchObject({ booted: ["db"] });
    expect(await hookLog()).toHaveLength(1);
  });

  it.each([
    { case: "runs, by its status hook", runs: true, without: [], boots: 0 },
    { case: "does not run, by its status hook", runs: false, without: [], boots: 1 },
    { case: "has no status hook", runs: true, without: ["status" as const], boots: 1 },
  ])("after a crash while a VM booted that $case", async ({ runs, without, boots }) => {
    hooks.set("db", recordingHooks("db", without));
    await runCommand(half, commands.attach);
    const record = path.join(folder, "recovery", "operations", operationId, "vm-db.json");
    await writeFile(record, '{"formatVersion":1,"boot":"starting"}');
    if (runs) await writeFile(path.join(folder, "db.runs"), "");
    await runCommand(half, commands.boot);
    expect((await hookLog()).filter((line) => line.startsWith("boot"))).toHaveLength(boots);
    expect(JSON.parse(await readFile(record, "utf8"))).toEqual({ formatVersion: 1, boot: "started" });
  });

  it("boots no second one while the status hook doesn't know", async () => {
    hooks.set("db", { ...recordingHooks("db"), status: ["/bin/sh", "-c", "exit 4"] });
    await runCommand(half, commands.attach);
    await writeFile(
      path.join(folder, "recovery", "operations", operationId, "vm-db.json"),
      '{"formatVersion":1,"boot":"starting"}',
    );
    await expect(runCommand(half, commands.boot)).rejects.toThrow("unknown");
  });

  it("stops what it booted, once, and nothing else", async () => {
    await runCommand(half, commands.attach);
    expect(await runCommand(half, commands.stop)).toEqual({ stopped: [] });
    await runCommand(half, commands.boot);
    expect(await runCommand(half, commands.stop)).toEqual({ stopped: ["db"] });
    expect(await runCommand(half, commands.stop)).toEqual({ stopped: [] });
    const checkpoint = commands.attach.checkpointId;
    expect(await hookLog()).toEqual([`boot db live ${checkpoint}`, `kill db live ${checkpoint}`]);
    await runCommand(half, commands.boot);
    expect(await hookLog()).toHaveLength(3);
  });

  it("waits until the status hook says stopped, and fails when it never does", async () => {
    hooks.set("db", { ...recordingHooks("db"), kill: ["/bin/true"] });
    await runCommand(half, commands.attach);
    await runCommand(half, commands.boot);
    /** Hooks take real time; the clock moves when the half waits by it. */
    const settled = async (work: Promise<unknown>, ms: number): Promise<void> => {
      let open = true;
      const end = (): void => {
        open = false;
      };
      work.then(end, end);
      while (open) {
        if (clock.sleeping > 0) await clock.advance(ms);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    };
    const stopping = runCommand(half, commands.stop);
    while (clock.sleeping === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    await rm(path.join(folder, "db.runs"));
    await settled(stopping, 500);
    expect(await stopping).toEqual({ stopped: ["db"] });
    await runCommand(half, commands.boot);
    const failing = runCommand(half, commands.stop);
    await settled(failing, 5000);
    await expect(failing).rejects.toThrow("its status hook says running");
  });

  it("says what to do about a VM that it can't stop", async () => {
    hooks.set("db", recordingHooks("db", ["kill", "status"]));
    await runCommand(half, commands.attach);
    await runCommand(half, commands.boot);
    await expect(runCommand(half, commands.stop)).rejects.toThrow('give [hooks.db] kill = ["true"]');
  });

  it("doesn't call stopped what it lost the records of: the status hook knows, or a person", async () => {
    await runCommand(half, commands.attach);
    await runCommand(half, commands.boot);
    await half.close();
    await rm(path.join(folder, "recovery"), { recursive: true });
    half = await start();
    await expect(runCommand(half, commands.stop)).rejects.toThrow("its status hook says running");
    hooks.set("db", recordingHooks("db", ["status"]));
    await expect(runCommand(half, commands.stop)).rejects.toThrow('give [hooks.db] status = ["false"]');
    hooks.set("db", recordingHooks("db"));
    await rm(path.join(folder, "db.runs"));
    expect(await runCommand(half, commands.stop)).toEqual({ stopped: [] });
    expect(await runCommand(half, commands.detach)).toEqual({});
    expect(await hookLog()).toHaveLength(1);
  });

  it("detaches: drops the clients and removes everything at once, or when the time has come", async () => {
    const { exports } = await runCommand(half, commands.attach);
    const nbd = await client(exports, 1);
    expect(await runCommand(half, commands.detachKeep)).toEqual({});
    await expect(nbd.read(0, 512)).rejects.toThrow();
    expect(half.attachedOperations()).toEqual([]);
    expect(await inDirectory("operations")).toEqual([]);
    expect(await inDirectory("kept")).toEqual([`${operationId}.1`]);
    expect(await runCommand(half, commands.detachKeep)).toEqual({});
    await restart();
    expect(half.attachedOperations()).toEqual([]);
    await runCommand(half, commands.attach);
    await runCommand(half, commands.detachKeep);
    expect(await inDirectory("kept")).toHaveLength(2);
    await clock.advance(3_600_000);
    await runCommand(half, commands.attach);
    await runCommand(half, commands.detach);
    expect(await inDirectory("kept")).toEqual([]);
    expect(await inDirectory("s")).toEqual([]);
  });

  it("starts from the checkpoint again when it is attached after a detach", async () => {
    const first = await runCommand(half, commands.attach);
    const nbd = await client(first["exports"], 2);
    await nbd.write(0, Buffer.alloc(4096, 1), { fua: true });
    await runCommand(half, commands.detachKeep);
    const second = await runCommand(half, commands.attach);
    expect((await readVolume(second["exports"], 2)).equals(journal.images.get(2) ?? Buffer.alloc(0))).toBe(true);
  });

  it("promotes to local disks under its clients; then needs no journal and can't be detached", async () => {
    const { exports } = await runCommand(half, commands.attach);
    const nbd = await client(exports, 1);
    await nbd.write(512, Buffer.alloc(512, 7));
    const progress: number[] = [];
    const result = await runCommand(half, commands.promote, { progress: (done) => progress.push(done) });
    expect(result["bytes"]).toBeGreaterThan(0);
    expect(progress.at(-1)).toBe((sizes.get(1) ?? 0) + (sizes.get(2) ?? 0));
    await nbd.write(1024, Buffer.alloc(512, 8), { fua: true });
    await nbd.disconnect();
    expect(await runCommand(half, commands.promote)).toEqual(result);
    await restart();
    routes.failures.push(...Array.from({ length: 9 }, () => new NotFound("gone")));
    const expected = Buffer.from(journal.images.get(1) ?? Buffer.alloc(0));
    expected.fill(7, 512, 1024).fill(8, 1024, 1536);
    expect((await readVolume(exports, 1)).equals(expected)).toBe(true);
    expect(await runCommand(half, commands.promote)).toEqual(result);
    expect(await runCommand(half, commands.attach)).toEqual({ exports });
    await expect(runCommand(half, commands.detach)).rejects.toThrow("production disks");
  });

  it("has a live operation's disks for itself, so that no other gateway names one as its own", async () => {
    const { attach, promote } = commands;
    await runCommand(half, attach);
    await runCommand(half, promote);
    const disks = [...sizes.keys()].map((volume) =>
      path.join(folder, "recovery", "operations", attach.operationId, String(volume), "data"),
    );
    for (const disk of disks) expect(() => lockDisk(disk)).toThrow(DirectoryInUse);
    await restart();
    for (const disk of disks) expect(() => lockDisk(disk)).toThrow(DirectoryInUse);
    await half.close();
    const [first = ""] = disks;
    const taken = lockDisk(first);
    const later = await start();
    expect(log.entries.some(({ fields }) => JSON.stringify(fields).includes("DirectoryInUse"))).toBe(true);
    await later.close();
    taken?.release();
    half = await start();
    for (const disk of disks) expect(() => lockDisk(disk)).toThrow(DirectoryInUse);
  });

  it("stops promoting when the gateway stops, and goes on later", async () => {
    await runCommand(half, commands.attach);
    const stop = new AbortController();
    stop.abort(new Error("the gateway stops"));
    await expect(runCommand(half, commands.promote, { signal: stop.signal })).rejects.toThrow("the gateway stops");
    await restart();
    expect((await runCommand(half, commands.promote))["bytes"]).toBeGreaterThan(0);
  });

  it("does not wait for a journal that is away when the gateway stops", async () => {
    await runCommand(half, commands.attach);
    await restart();
    routes.failures.push(...Array.from({ length: 9 }, () => new Transient("away")));
    const stop = new AbortController();
    const promoting = runCommand(half, commands.promote, { signal: stop.signal });
    while (clock.sleeping === 0) await clock.settle();
    stop.abort(new Error("the gateway stops"));
    await expect(promoting).rejects.toThrow("the gateway stops");
    await half.close();
    expect(clock.sleeping).toBe(0);
  });

  it("serves the other operations when one can't be opened", async () => {
    const other = { operationId: idSchema.parse("01k3zper4t0000000000000002") };
    await runCommand(half, commands.attach);
    const { exports } = await runCommand(half, { ...commands.attach, ...other });
    await half.close();
    await rm(path.join(folder, "recovery", "operations", operationId, "2", "bitmap"));
    half = await start();
    expect(half.attachedOperations()).toEqual([other.operationId]);
    expect(log.entries.map(({ event }) => event)).toEqual(["recovery.resume-failed"]);
    expect((await readVolume(exports, 2)).equals(journal.images.get(2) ?? Buffer.alloc(0))).toBe(true);
    await expect(runCommand(half, commands.attach)).rejects.toThrow("is missing");
    await runCommand(half, commands.detach);
    await runCommand(half, commands.attach);
  });

  it("refuses a directory in which no socket fits", async () => {
    const long = path.join(folder, "x".repeat(90));
    await expect(openKit({ folder: long, objects: journal.objects, hooks, clock, log })).rejects.toThrow("too long");
  });
});
