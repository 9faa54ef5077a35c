import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { EmbeddedWorkflows } from "#adapters/embedded/workflows/interpreter.ts";
import { comparePage } from "#core/delta-sync/compare-page.ts";
import { startDeltaSync } from "#core/delta-sync/start.ts";
import { InvalidInput, Transient } from "#core/errors.ts";
import { newId } from "#core/ids.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import { decodePrefix } from "#core/journal/decode.ts";
import { journalPrefix, parseSyncPageKey, syncArea } from "#core/journal/keys.ts";
import { TableJournal } from "#core/protection/table-journal.ts";
import { changeVpg, getVpg, pauseVpg, resumeVpg } from "#core/protection/vpg-store.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import { findOperation, hasEnded } from "#core/recovery/operation-store.ts";
import { readReport } from "#core/recovery/report.ts";
import { View } from "#core/recovery/view.ts";
import { CompareAhead } from "../../cli/site/compare-ahead.ts";
import { invokeTask, machines } from "../../cli/site/machines.ts";
import { GatewaySite, shopOf } from "../../test/kit/gateway-site.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { operator } from "../../test/kit/site.ts";
import { parseGatewayConfig } from "../config.ts";
import { type RunningGateway, runGateway } from "../main.ts";
import { NbdClient } from "../nbd/client.ts";

const MiB = 2 ** 20;
const sizes = { data: 24 * MiB, log: 8 * MiB } as const;
const definition = shopOf(sizes);

describe("a delta-sync, with a gateway's process and its disks", () => {
  let folder = "";
  let site: GatewaySite;
  let workflows: EmbeddedWorkflows;
  let gateway: RunningGateway | undefined;
  const random = new SeededRandom(42);

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "farshore-delta-"));
    mkdirSync(join(folder, "run"));
    for (const [name, size] of Object.entries(sizes)) {
      const image = Buffer.alloc(size);
      for (let at = 0; at < size; at += 2 * MiB) random.bytes(64 * 1024).copy(image, at);
      writeFileSync(join(folder, `${name}.img`), image);
    }
    site = await GatewaySite.start(definition);
    workflows = new EmbeddedWorkflows({
      ...{ file: ":memory:", clock: site.site.clock, random: new SystemRandom(), log: new QuietLog(), machines },
      invoke: (name, payload) => invokeTask(site.site, name, payload),
    });
    Object.assign(site.site, { workflows });
  });
  afterEach(async () => {
    await gateway?.close();
    gateway = undefined;
    await workflows.close();
    await site.close();
    rmSync(folder, { recursive: true });
  });

  const start = async (): Promise<void> => {
    const text = `site = "${site.url}"
token_file = "token"
state = "state"
[source]
vpg = "shop"
socket = "run/shop.sock"
[[source.volume]]
vm = "db"
name = "data"
path = "data.img"
[[source.volume]]
vm = "db"
name = "log"
path = "log.img"
`;
    const config = parseGatewayConfig(text, { path: join(folder, "gateway.toml"), token: "token" });
    gateway = await runGateway({ config, log: new QuietLog() });
    await gateway.ready;
    await until(() => mode() === "replicating", "replicating");
  };
  const mode = (): string | undefined => site.lastStream?.mode;
  const until = async (met: () => boolean | Promise<boolean>, what: string): Promise<void> => {
    for (let tries = 0; tries < 1500; tries += 1) {
      if (await met()) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`never: ${what}: ${JSON.stringify(gateway?.status())}`);
  };
  const sync = async (during: () => Promise<void> = async () => undefined) => {
    const requestId = newId(site.site.clock, new SystemRandom());
    const started = await startDeltaSync(site.site, operator, site.vpgId, { requestId, options: { force: true } });
    await during();
    const ended = async () => {
      const operation = await findOperation(site.site, started.operationId);
      return operation !== undefined && hasEnded(operation);
    };
    await until(ended, "ended");
    return readReport(site.site, site.vpgId, started.operationId);
  };
  const expectEqual = async (): Promise<void> => {
    for (const [index, name] of (["data", "log"] as const).entries()) {
      const image = await site.image(index + 1);
      expect(image.equals(readFileSync(join(folder, `${name}.img`))), `${name} equals its disk`).toBe(true);
    }
  };

  const flipByte = (): void => {
    const file = openSync(join(folder, "data.img"), "r+");
    writeSync(file, Buffer.of(255), 0, 1, 13 * MiB + 5);
    closeSync(file);
  };

  it("ships the block of one byte that nobody told of, lists a checkpoint behind it, and reports", async () => {
    await start();
    const before = await site.checkpoints();
    flipByte();
    const report = await sync();
    expect(report).toMatchObject({ kind: "delta-sync", phase: "Completed", error: null, initiatedBy: "operator:ann" });
    expect(report.syncFigures).toMatchObject({
      ...{ hashedBytes: sizes.data + sizes.log, differingBytes: MiB / 2, pages: 2, pagesAlone: 0 },
    });
    // Of the chunk the block that the byte is in.
    expect(report.syncFigures?.shippedBytes).toBe(4096);
    await expectEqual();
    const after = await site.checkpoints();
    expect(after.map(({ id }) => id)).toEqual(expect.arrayContaining(before.map(({ id }) => id)));
    expect(report.checkpointId).not.toBe(before[0]?.id);
    expect((await getVpg(site.site, "shop")).syncOperationId).toBeNull();
    expect((await site.site.objects.list(syncArea)).length).toBe(4);
    // Only the blocks of what differed were asked for, never a page's hashes.
    expect(site.requests.filter((request) => request === "POST /gateway/v1/hashes")).toHaveLength(1);
  });

  it("finds pages compared that came while others were hashed, none of them twice", async () => {
    await start();
    site.readsJournal = true;
    const ahead = new CompareAhead((...page) => comparePage(site.site, ...page), new QuietLog());
    const read: string[] = [];
    const { objects } = site.site;
    const get = objects.get.bind(objects);
    Object.assign(objects, {
      get: (...asked: Parameters<typeof get>) => {
        if (parseSyncPageKey(asked[0])?.what === "hashes") read.push(asked[0]);
        return get(...asked);
      },
    });
    Object.assign(site.site, { pageArrived: ahead.arrived.bind(ahead) });
    const file = openSync(join(folder, "data.img"), "r+");
    writeSync(file, random.bytes(3 * MiB), 0, 3 * MiB, 7 * MiB + 100);
    closeSync(file);
    const report = await sync();
    await ahead.close();
    expect(report).toMatchObject({ phase: "Completed", error: null, syncFigures: { pages: 2, pagesAlone: 0 } });
    expect(new Set(read).size).toBe(2);
    expect(read).toHaveLength(2);
    await expectEqual();
  });

  it("holds under writes, lost replies and failures, and a second one is refused meanwhile", async () => {
    await start();
    Object.assign(site.faults, { losesReply: 0.1, fails: 0.1 });
    const client = await NbdClient.connect({ socketPath: join(folder, "run/shop.sock") }, "shop/db/data");
    const report = await sync(async () => {
      const requestId = newId(site.site.clock, new SystemRandom());
      const second = startDeltaSync(site.site, operator, site.vpgId, { requestId, options: { force: true } });
      await expect(second).rejects.toMatchObject({ name: "OperationInProgress" });
      for (let count = 0; count < 60; count += 1) {
        await client.write(512 * random.below(40_000), random.bytes(4096));
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    });
    await client.disconnect();
    Object.assign(site.faults, { losesReply: 0, fails: 0 });
    expect(report).toMatchObject({ phase: "Completed", error: null });
    await until(() => site.lastStream?.idle === true, "idle");
    await expectEqual();
  });

  it("is refused by name while nothing is journaled", async () => {
    await start();
    await pauseVpg(site.site, operator, site.vpgId);
    await until(() => mode() === "paused", "paused");
    await expect(sync()).rejects.toMatchObject({ name: "ReplicationPaused" });
    await resumeVpg(site.site, operator, site.vpgId);
    await changeVpg(site.site, site.vpgId, () => ({ journalFull: true }));
    await expect(sync()).rejects.toMatchObject({ name: "JournalFull" });
    expect((await getVpg(site.site, "shop")).syncOperationId).toBeNull();
    await changeVpg(site.site, site.vpgId, () => ({ journalFull: false }));
    await until(() => mode() === "replicating", "replicating");
  });

  it.each(["PUT", "GET"])(
    "fails by name when replication is paused at a %s of its pages, and what is suspect is compared once it goes on",
    async (method) => {
      await start();
      await until(() => site.lastStream?.idle === true, "idle");
      flipByte();
      let held = false;
      site.faults.refuse = (request) => {
        // A page whose wants it can't have the gateway compares by itself: not before the pause either.
        const alone = held && request === "POST /gateway/v1/hashes";
        if (mode() === "paused" || !(alone || request.startsWith(`${method} /gateway/v1/syncs/`))) return;
        held = true;
        throw new Transient("not before the pause");
      };
      const report = await sync(async () => {
        await until(() => held, "held");
        await pauseVpg(site.site, operator, site.vpgId);
      });
      expect(report).toMatchObject({ phase: "Failed", error: { name: "CommandFailed" }, checkpointId: null });
      expect(report.error?.message).toMatch(/is paused.*→/s);
      site.faults.refuse = () => undefined;
      await resumeVpg(site.site, operator, site.vpgId);
      await until(() => mode() === "replicating" && site.lastStream?.idle === true, "idle");
      await expectEqual();
    },
  );

  it.each(["by a delta-sync", "by the gateway alone"])(
    "ends over a damaged batch, %s: what lay there is sent again",
    async (how) => {
      await start();
      site.readsJournal = true;
      const { objects } = site.site;
      await until(async () => (await site.checkpoints()).length > 0, "a checkpoint");
      // One bit of the first frame of the first batch that has one, which begins with what the disk begins with.
      for (const { key } of await objects.list(journalPrefix(site.vpgId))) {
        const bytes = Buffer.from(await objects.get(key));
        const object = decodePrefix(bytes);
        const place = object.kind === "batch" ? object.header.frames[0]?.start : undefined;
        if (place === undefined) continue;
        bytes[place] = (bytes[place] ?? 0) ^ 1;
        await objects.put(key, bytes);
        break;
      }
      // Where the journal holds what can't be read, the disk has zeros: left out as they are over an empty journal, old bytes would stay.
      const file = openSync(join(folder, "data.img"), "r+");
      writeSync(file, Buffer.alloc(64 * 1024), 0, 64 * 1024, 0);
      closeSync(file);
      site.faults.refuse = (request) => {
        if (how === "by the gateway alone" && request.startsWith("PUT /gateway/v1/syncs/"))
          throw new InvalidInput("no");
      };
      const before = await site.checkpoints();
      const report = await sync();
      expect(report).toMatchObject({ phase: "Completed", error: null });
      expect(report.syncFigures).toMatchObject({ pagesAlone: how === "by a delta-sync" ? 0 : 2 });
      expect(before.map(({ id }) => id)).not.toContain(report.checkpointId);
      const bucket = await BucketJournal.open(objects, site.vpgId);
      const upTo = bucket.checkpoints().find(({ id }) => id === report.checkpointId) ?? { session: 0, sequence: 0 };
      for (const [index, name] of (["data", "log"] as const).entries()) {
        for (const source of [new TableJournal(site.site, site.vpgId), bucket]) {
          const view = new View({ reader: new JournalReader(source), volume: index + 1, sizeBytes: sizes[name], upTo });
          const image = Buffer.alloc(sizes[name]);
          await view.read(0, image);
          expect(image.equals(readFileSync(join(folder, `${name}.img`))), `${name} equals its disk`).toBe(true);
        }
      }
    },
  );
});
