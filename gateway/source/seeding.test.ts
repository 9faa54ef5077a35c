import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { CommandFailed, InvalidInput } from "#core/errors.ts";
import { GatewaySite, shopOf } from "../../test/kit/gateway-site.ts";
import { MemoryDevice } from "../../test/kit/memory-device.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { SiteClient } from "../control/site-client.ts";
import { DiskError } from "../disk/block-device.ts";
import { bufferBytesDefault } from "../limits.ts";
import { StateDirectory } from "../state/state-directory.ts";
import type { SeedDisk } from "./seed-source.ts";
import { Seeding, seedDisksOf } from "./seeding.ts";
import { thisMachine } from "./source-host.ts";

const sizeBytes = 2 * chunkBytes;
const data = { volume: 1, vmName: "db", name: "data", sizeBytes, sectorBytes: 512 as const };

describe("a seeding", { timeout: 60_000 }, () => {
  let folder = "";
  let site: GatewaySite;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "fs-seeds-"));
    site = await GatewaySite.start(shopOf({ data: sizeBytes }, { recoveryGateway: "gw-recovery", compute: "gateway" }));
  });
  afterEach(async () => {
    await site.close();
    rmSync(folder, { recursive: true });
  });

  async function seed(source: SeedDisk["source"]): Promise<Record<string, unknown>> {
    const access = { kind: "token" as const, token: "recovery" };
    const address = { url: site.url, access };
    const client = new SiteClient(address, 4);
    const state = await StateDirectory.open(folder);
    const world = { clock: new SystemClock(), random: new SystemRandom(), log: new QuietLog(), host: thisMachine };
    const capture = { bufferBytes: bufferBytesDefault, syncBytesPerSecond: undefined };
    const options = { ...world, disks: [{ volume: data, source }], capture, address, site: client, state };
    const seeding = new Seeding(options, { vpgId: site.vpgId, vpgName: "shop", term: 1 });
    try {
      return await seeding.run({ commandId: "c", signal: AbortSignal.timeout(50_000), progress: () => undefined });
    } finally {
      await state.close();
      await client.close();
    }
  }

  it("fails by the name of a disk that was closed, and says what to do", async () => {
    const closed = { sizeBytes, read: () => Promise.reject(new DiskError("ESHUTDOWN", "data.img is closed")) };
    await expect(seed(closed)).rejects.toThrow(
      new CommandFailed(
        "the seed db/data can't be read: ESHUTDOWN: data.img is closed; see that its gateway may read it, and restart that gateway",
        { vmName: "db", name: "data" },
      ),
    );
  });

  it("fails with what the site refuses to compare", async () => {
    const disk = new MemoryDevice(sizeBytes);
    disk.write(0, new SeededRandom(1).bytes(sizeBytes));
    expect(await seed(disk)).toMatchObject({ shippedBytes: sizeBytes, unreadableBytes: 0 });
    site.faults.refuse = (request) => {
      if (request.includes("/hashes")) throw new InvalidInput("no such volume");
    };
    await expect(seed(disk)).rejects.toThrow(new InvalidInput("no such volume"));
  });

  it("counts what can't be read as zeros", async () => {
    const bad = { sizeBytes, read: () => Promise.reject(new DiskError("EIO", "bad sector")) };
    expect(await seed(bad)).toMatchObject({ hashedBytes: sizeBytes, shippedBytes: 0, unreadableBytes: sizeBytes });
  });
});

it("leaves out volumes that no disk is of, and says why", () => {
  const refusal = new InvalidInput("data.img of db/data has another size");
  const diskOf = () => {
    throw refusal;
  };
  expect(seedDisksOf({ diskOf }, [data])).toEqual({ disks: [], leftOut: [{ volume: 1, why: refusal.message }] });
});
