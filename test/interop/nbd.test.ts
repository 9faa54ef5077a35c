/** Other people's NBD clients against our server, over a tapped file: what they wrote is on the disk, in the journal's view, and reads back. */
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FileDevice } from "../../gateway/disk/file-device.ts";
import { TappedDevice } from "../../gateway/disk/tapped-device.ts";
import { NbdServer } from "../../gateway/nbd/server.ts";
import type { Tap } from "../../gateway/tap/tap.ts";
import { ImageTap } from "../kit/image-tap.ts";
import { requirePeer } from "../kit/peers.ts";
import { QuietLog } from "../kit/quiet-log.ts";
import { runPeer } from "../kit/run-peer.ts";
import { SeededRandom } from "../kit/seeded-random.ts";

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;
const smallBytes = 64 * MiB;

let folder: string;
let server: NbdServer;
let devices: TappedDevice[];
let log: QuietLog;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "farshore-interop-"));
  log = new QuietLog();
  server = new NbdServer({ log });
  devices = [];
  await server.listenUnix(join(folder, "nbd.sock"));
});

afterEach(async () => {
  await server.close();
  await Promise.all(devices.map((device) => device.close()));
  rmSync(folder, { recursive: true, force: true });
  expect(log.entries).toEqual([]);
});

function sparseFile(name: string, sizeBytes: number): string {
  const path = join(folder, name);
  const file = openSync(path, "w");
  ftruncateSync(file, sizeBytes);
  closeSync(file);
  return path;
}

function serve(name: string, path: string, tap: Tap): string {
  const device = new TappedDevice(FileDevice.open(path), tap, 1, (error) => {
    throw error;
  });
  devices.push(device);
  server.addExport(name, device, { description: "under test" });
  return `nbd+unix:///${name}?socket=${join(folder, "nbd.sock")}`;
}

/** An export of 64 MiB with the image of its tap. */
function serveSmall(): { readonly uri: string; readonly path: string; readonly tap: ImageTap } {
  const path = sparseFile("small.img", smallBytes);
  const tap = new ImageTap(smallBytes);
  return { uri: serve("small", path, tap), path, tap };
}

function expectJournaled(path: string, tap: ImageTap): void {
  expect(tap.distrusts).toBe(0);
  expect(readFileSync(path).equals(tap.image)).toBe(true);
}

/** A sparse file with data at both ends and in pieces between, about 6 % of it. */
function sparseImage(name: string, sizeBytes: number): string {
  const path = sparseFile(name, sizeBytes);
  const file = openSync(path, "r+");
  const random = new SeededRandom(4);
  const block = random.bytes(MiB);
  const pieces = sizeBytes / MiB / 16;
  for (let piece = 0; piece < pieces; piece++) {
    const start = piece === 0 ? 0 : 4096 * random.below((sizeBytes - MiB) / 4096);
    writeSync(file, block, 0, 512 * (1 + random.below(2048)), start);
  }
  writeSync(file, block, 0, 512, sizeBytes - 512);
  closeSync(file);
  return path;
}

/** Numbers only: no taps of these sizes in memory. */
const noTap: Tap = { write: () => {}, zero: () => {}, distrust: () => {} };

describe("libnbd", () => {
  it("nbdinfo sees the export as we mean it", async (context) => {
    const [nbdinfo = ""] = requirePeer(context, "nbdinfo");
    const { uri } = serveSmall();
    const { stdout } = await runPeer(nbdinfo, ["--json", uri]);
    expect(JSON.parse(stdout)).toMatchObject({
      protocol: "newstyle-fixed",
      TLS: false,
      exports: [
        {
          "export-name": "small",
          "export-size": smallBytes,
          is_read_only: false,
          can_flush: true,
          can_fua: true,
          can_multi_conn: true,
          can_trim: false,
          can_zero: true,
          block_size_minimum: 512,
          block_size_preferred: 4096,
          block_size_maximum: 32 * MiB,
        },
      ],
    });
    const { stdout: list } = await runPeer(nbdinfo, ["--list", "--json", uri.replace("/small", "/")]);
    expect(JSON.parse(list).exports[0]).toMatchObject({ "export-name": "small", description: "under test" });
  });

  it("nbdcopy carries 4 GiB of sparse data in and out again, equal and still sparse", async (context) => {
    const [nbdcopy = "", cmp = ""] = requirePeer(context, "nbdcopy", "cmp");
    const source = sparseImage("source.img", 4 * GiB);
    const disk = sparseFile("disk.img", 4 * GiB);
    const uri = serve("large", disk, noTap);
    await runPeer(nbdcopy, ["--flush", source, uri]);
    await runPeer(cmp, [source, disk]);
    expect(statSync(disk).blocks).toBeLessThan(2 * statSync(source).blocks);
    const back = join(folder, "back.img");
    await runPeer(nbdcopy, [uri, back]);
    await runPeer(cmp, [source, back]);
  });

  it("nbdcopy does the same over TCP with several connections", async (context) => {
    const [nbdcopy = "", cmp = ""] = requirePeer(context, "nbdcopy", "cmp");
    const source = sparseImage("source.img", smallBytes);
    const { path, tap } = serveSmall();
    const uri = `nbd://127.0.0.1:${await server.listenTcp(0)}/small`;
    await runPeer(nbdcopy, ["--connections=4", "--requests=32", "--flush", source, uri]);
    await runPeer(cmp, [source, path]);
    expectJournaled(path, tap);
    const back = join(folder, "back.img");
    await runPeer(nbdcopy, ["--connections=4", uri, back]);
    await runPeer(cmp, [source, back]);
  });
});

describe("QEMU", () => {
  it("qemu-img tells, converts and compares", async (context) => {
    const [qemuImg = ""] = requirePeer(context, "qemu-img");
    const source = sparseImage("source.img", smallBytes);
    const { uri, path, tap } = serveSmall();
    const { stdout } = await runPeer(qemuImg, ["info", "--output=json", uri]);
    expect(JSON.parse(stdout)).toMatchObject({ "virtual-size": smallBytes, format: "raw" });
    await runPeer(qemuImg, ["convert", "-n", "-W", "-f", "raw", "-O", "raw", source, uri]);
    await runPeer(qemuImg, ["compare", "-f", "raw", "-F", "raw", source, uri]);
    expectJournaled(path, tap);
    const back = join(folder, "back.qcow2");
    await runPeer(qemuImg, ["convert", "-f", "raw", "-O", "qcow2", uri, back]);
    await runPeer(qemuImg, ["compare", "-f", "qcow2", "-F", "raw", back, source]);
  });

  it("qemu-io reads the patterns that it wrote, with overlaps, zeros, FUA and flushes", async (context) => {
    const [qemuIo = ""] = requirePeer(context, "qemu-io");
    const { uri, path, tap } = serveSmall();
    const commands = [
      "write -P 0x11 0 1M",
      "write -P 0x22 512k 1M",
      "write -f -P 0x33 700k 512",
      "write -z 1M 128k",
      "write -z -u 1100k 64k",
      "aio_write -P 0x44 8M 4M",
      "aio_write -P 0x55 16M 64k",
      "aio_write -P 0x66 20M 512",
      "aio_flush",
      "flush",
      "read -P 0x11 0 512k",
      "read -P 0x22 512k 188k",
      "read -P 0x33 700k 512",
      "read -P 0 1M 140k",
      "read -P 0x22 1164k 372k",
      "read -P 0x44 8M 4M",
      "read -P 0x55 16M 64k",
      "read -P 0x66 20M 512",
      "discard 8M 1M",
      "read -P 0 32M 32M",
    ];
    const { stdout } = await runPeer(qemuIo, [
      "-f",
      "raw",
      "-t",
      "none",
      ...commands.flatMap((each) => ["-c", each]),
      uri,
    ]);
    expect(stdout).not.toMatch(/failed|error/i);
    expectJournaled(path, tap);
  });
});

describe("fio", () => {
  const cases = {
    "4 KiB, 64 deep": ["--rw=randwrite", "--bs=4k", "--iodepth=64"],
    "512 bytes to 256 KiB, 16 deep": ["--rw=randwrite", "--bsrange=512-256k", "--iodepth=16"],
    "4 KiB with reads and flushes, 16 deep": ["--rw=randrw", "--bs=4k", "--fsync=32", "--iodepth=16"],
    "1 MiB in order, 16 deep": ["--rw=write", "--bs=1M", "--iodepth=16"],
  };
  for (const [name, options] of Object.entries(cases)) {
    it(`verifies every block that it wrote: ${name}`, async (context) => {
      const [fio = ""] = requirePeer(context, "fio");
      const { uri, path, tap } = serveSmall();
      const verify = ["--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--randseed=7"];
      const job = ["--name=verify", "--ioengine=nbd", `--uri=${uri}`, `--size=${smallBytes}`, "--output-format=json"];
      const { stdout } = await runPeer(fio, [...job, ...options, ...verify], folder);
      const [result] = JSON.parse(stdout.slice(stdout.indexOf("{"))).jobs;
      expect(result.error).toBe(0);
      expect(result.read.total_ios).toBeGreaterThan(0);
      expectJournaled(path, tap);
    });
  }
});
