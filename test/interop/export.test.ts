/** Other people's NBD clients on what a gateway exports: recovered volumes with scratch over them, and checkpoints read-only. */
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { exportView } from "../../gateway/export/view-export.ts";
import { writeView } from "../../gateway/export/view-write.ts";
import type { RecoveryHalf } from "../../gateway/recovery-half.ts";
import { vpgId } from "../kit/batches.ts";
import { requirePeer } from "../kit/peers.ts";
import { QuietLog } from "../kit/quiet-log.ts";
import { type RandomJournal, randomJournal } from "../kit/random-journal.ts";
import { commandsOf, openKit, runCommand } from "../kit/recovery.ts";
import { runPeer } from "../kit/run-peer.ts";
import { SeededRandom } from "../kit/seeded-random.ts";

const MiB = 1024 * 1024;
const sizes = new Map([
  [1, 96 * MiB],
  [2, 16 * MiB + 512],
]);

let folder: string;
let journal: RandomJournal;
let half: RecoveryHalf;
let log: QuietLog;

beforeEach(async () => {
  // A name that a URI has to escape.
  folder = path.join(await mkdtemp(path.join(tmpdir(), "fs-ex-")), "a b&c");
  await mkdir(folder);
  journal = await randomJournal(new SeededRandom(11), sizes, { batches: 30 });
  log = new QuietLog();
  half = await openKit({ folder, objects: journal.objects, hooks: new Map(), clock: new SystemClock(), log });
  await half.resume();
});

afterEach(async () => {
  await half.close();
  await rm(path.dirname(folder), { recursive: true, force: true });
  expect(log.entries).toEqual([]);
});

async function attach(): Promise<{ readonly data: string; readonly logDisk: string }> {
  const { exports } = await runCommand(half, commandsOf(journal.upTo, sizes).attach);
  const uris = new Map(Object.entries(Object(exports)));
  return { data: String(uris.get("1")), logDisk: String(uris.get("2")) };
}

const output = async (program: string, args: readonly string[]): Promise<string> =>
  (await runPeer(program, args)).stdout;

const imageOf = (volume: number): Buffer => journal.images.get(volume) ?? Buffer.alloc(0);

describe("recovered volumes", () => {
  it("are described by nbdinfo under their URIs", async (context) => {
    const [nbdinfo = ""] = requirePeer(context, "nbdinfo");
    const { data, logDisk } = await attach();
    expect((await output(nbdinfo, ["--size", data])).trim()).toBe(String(96 * MiB));
    expect((await output(nbdinfo, ["--size", logDisk])).trim()).toBe(String(16 * MiB + 512));
    const [found] = JSON.parse(await output(nbdinfo, ["--json", data])).exports;
    expect(found).toMatchObject({ "export-name": "shop/db/data", is_read_only: false, can_multi_conn: true });
    expect(found).toMatchObject({ can_flush: true, can_fua: true, can_trim: true, can_zero: true });
    const listed = JSON.parse(await output(nbdinfo, ["--json", "--list", data]));
    expect(listed.exports.map((each: Record<string, unknown>) => each["export-name"])).toEqual([
      "shop/db/data",
      "shop/db/log-disk",
    ]);
  });

  it("are copied by nbdcopy byte for byte, by several connections", async (context) => {
    const [nbdcopy = ""] = requirePeer(context, "nbdcopy");
    const { data, logDisk } = await attach();
    for (const [volume, uri] of [
      [1, data],
      [2, logDisk],
    ] as const) {
      const copy = path.join(folder, `copy-${volume}`);
      await runPeer(nbdcopy, ["--connections=4", uri, copy]);
      expect((await readFile(copy)).equals(imageOf(volume))).toBe(true);
    }
  });

  it("take writes, zeroes and trims of qemu-io, and keep them over a restart and a promotion", async (context) => {
    const [qemuIo = "", nbdcopy = ""] = requirePeer(context, "qemu-io", "nbdcopy");
    const { data } = await attach();
    const script = ["write -P 0x5a 1000k 3M", "write -P 0x11 512 512", "write -z 20M 1M", "discard 40M 8M", "flush"];
    await runPeer(qemuIo, ["-f", "raw", ...script.flatMap((line) => ["-c", line]), data]);
    const expected = Buffer.from(imageOf(1));
    expected.fill(0x5a, 1000 * 1024, 1000 * 1024 + 3 * MiB).fill(0x11, 512, 1024);
    expected.fill(0, 20 * MiB, 21 * MiB).fill(0, 40 * MiB, 48 * MiB);
    const check = async (name: string): Promise<void> => {
      await runPeer(nbdcopy, [data, path.join(folder, name)]);
      expect((await readFile(path.join(folder, name))).equals(expected), name).toBe(true);
    };
    await check("before");
    await half.close();
    half = await openKit({ folder, objects: journal.objects, hooks: new Map(), clock: new SystemClock(), log });
    await half.resume();
    await check("restarted");
    await runCommand(half, commandsOf(journal.upTo, sizes).promote);
    await check("promoted");
  });

  it("are filled by nbdcopy", async (context) => {
    const [nbdcopy = ""] = requirePeer(context, "nbdcopy");
    const { logDisk } = await attach();
    const source = path.join(folder, "source");
    const bytes = new SeededRandom(5).bytes(16 * MiB + 512).fill(0, MiB, 9 * MiB);
    await writeFile(source, bytes);
    await runPeer(nbdcopy, ["--flush", source, logDisk]);
    await runPeer(nbdcopy, [logDisk, path.join(folder, "back")]);
    expect((await readFile(path.join(folder, "back"))).equals(bytes)).toBe(true);
  });
});

describe("a checkpoint", () => {
  async function volume() {
    const source = await BucketJournal.open(journal.objects, vpgId);
    return { source, volume: 1, sizeBytes: 96 * MiB, sectorBytes: 512 as const, upTo: journal.upTo };
  }

  it("is exported read-only, and copied by nbdcopy byte for byte", async (context) => {
    const [nbdcopy = "", nbdinfo = "", qemuIo = ""] = requirePeer(context, "nbdcopy", "nbdinfo", "qemu-io");
    const socketPath = path.join(folder, "view.sock");
    const exported = await exportView({ ...(await volume()), exportName: "shop/db/data", socketPath, log });
    try {
      await runPeer(nbdcopy, [exported.uri, path.join(folder, "copy")]);
      expect((await readFile(path.join(folder, "copy"))).equals(imageOf(1))).toBe(true);
      const [found] = JSON.parse(await output(nbdinfo, ["--json", exported.uri])).exports;
      expect(found).toMatchObject({ is_read_only: true });
      await expect(runPeer(qemuIo, ["-f", "raw", "-c", "write 0 512", exported.uri])).rejects.toThrow();
    } finally {
      await exported.close();
    }
    await expect(stat(socketPath)).rejects.toThrow("ENOENT");
  });

  it("is written to the same bytes as it is exported", async () => {
    const file = path.join(folder, "whole.img");
    const options = {
      ...(await volume()),
      output: file,
      onProgress: () => undefined,
      signal: new AbortController().signal,
    };
    const { dataBytes } = await writeView(options);
    expect((await readFile(file)).equals(imageOf(1))).toBe(true);
    expect((await stat(file)).blocks * 512).toBeLessThan(dataBytes + MiB);
    await expect(writeView(options)).rejects.toThrow("exists");
  });
});
