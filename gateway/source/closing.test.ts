import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Transient } from "#core/errors.ts";
import { BucketJournal } from "#core/journal/bucket-journal.ts";
import type { Position } from "#core/journal/position.ts";
import { type CommandBody, closedResultSchema, type Final } from "#core/protection/command.ts";
import { type CommandRecord, getCommand, issueCommand } from "#core/protection/commands.ts";
import { createVpg } from "#core/protection/create-vpg.ts";
import { deleteVpg } from "#core/protection/delete-vpg.ts";
import { progressOfSessions } from "#core/protection/session-list.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import { GatewaySite, shopOf } from "../../test/kit/gateway-site.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { operator } from "../../test/kit/site.ts";
import { parseGatewayConfig } from "../config.ts";
import { type RunningGateway, runGateway } from "../main.ts";
import { NbdClient } from "../nbd/client.ts";
import { StateDirectory } from "../state/state-directory.ts";
import { closedDisks, openDisks } from "./closed-disks.ts";

const MiB = 2 ** 20;
const sizeBytes = 8 * MiB;
const move = "01k3zper4t0000000000000001";
/** A close and an open are some heartbeats, batches, a session and the commands' answers each. */
const messagesOfMove = 7;
const definition = shopOf({ data: sizeBytes });

describe("closing volumes", () => {
  const random = new SeededRandom(7);
  let folder = "";
  let site: GatewaySite;
  let gateway: RunningGateway;
  let vpgName = "shop";
  let path = "data.img";

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "farshore-closing-"));
    mkdirSync(join(folder, "run"));
    writeFileSync(join(folder, "data.img"), Buffer.alloc(sizeBytes));
    vpgName = "shop";
    path = "data.img";
    symlinkSync(join(folder, path), join(folder, "link.img"));
    site = await GatewaySite.start(definition);
    await start();
    await until(() => stream()?.mode === "replicating", "replicating");
  });
  afterEach(async () => {
    await gateway.close();
    await site.close();
    rmSync(folder, { recursive: true });
  });

  // A gateway that serves without a grant is the one that a closed mark must stop.
  const configText = (): string => `site = "${site.url}"
token_file = "token"
state = "state"
[hooks.db]
status = ["sh", "-c", "test -e running || exit 3"]
remove = ["touch", "removed"]
[source]
vpg = "${vpgName}"
socket = "run/shop.sock"
start_without_grant = "always"
[[source.volume]]
vm = "db"
name = "data"
path = "${path}"
`;
  const start = async (): Promise<void> => {
    const config = parseGatewayConfig(configText(), { path: join(folder, "gateway.toml"), token: "token" });
    gateway = await runGateway({ config, log: new QuietLog() });
    await gateway.ready;
  };
  const connect = (): Promise<NbdClient> =>
    NbdClient.connect({ socketPath: join(folder, "run/shop.sock") }, "shop/db/data");
  const stream = () => gateway.status().source?.stream;
  const until = async (met: () => boolean | Promise<boolean>, what: string): Promise<void> => {
    for (let tries = 0; tries < 1000; tries += 1) {
      if (await met()) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`never: ${what}: ${JSON.stringify(gateway.status())}`);
  };
  let asked = 0;
  const ask = async (body: Record<string, unknown>): Promise<CommandRecord> => {
    const { gatewayId } = site.protectedVpg.source;
    if (gatewayId === null) throw new Error("no gateway");
    asked += 1;
    const commandId = `op.${asked}`;
    const whole = { operationId: move, vpgId: site.vpgId, vpgName: "shop", ...body } as CommandBody;
    await issueCommand(site.site, gatewayId, { commandId, body: whole });
    await until(async () => ["done", "failed"].includes((await getCommand(site.site, commandId)).state), commandId);
    return await getCommand(site.site, commandId);
  };
  const close = (more: Record<string, unknown> = {}) =>
    ask({ kind: "close-volumes", term: null, final: true, ...more });
  const open = () => ask({ kind: "open-volumes" });
  const finalOf = ({ result }: CommandRecord): Final => {
    const { final } = closedResultSchema.parse(result);
    if (final === null) throw new Error("no FINAL");
    return final;
  };

  /** Writes from many connections until they are dropped; answers what was acknowledged last at each place. */
  const writeUntilDropped = async (): Promise<{
    readonly wrote: Map<number, Buffer>;
    readonly done: Promise<void>;
  }> => {
    const wrote = new Map<number, Buffer>();
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      const client = await connect();
      try {
        for (let count = 0; ; count += 1) {
          const place = (writer * 256 + (count % 256)) * 4096;
          const bytes = Buffer.from(random.bytes(4096));
          await client.write(place, bytes);
          wrote.set(place, bytes);
        }
      } catch {
        // Dropped.
      } finally {
        await client.disconnect().catch(() => undefined);
      }
    });
    await until(() => wrote.size > 500, "writes");
    return { wrote, done: Promise.all(writers).then(() => undefined) };
  };

  it("loses no acknowledged write of clients that go on until they are dropped", async () => {
    const { wrote, done } = await writeUntilDropped();
    const closed = await close();
    await done;
    const final = finalOf(closed);
    const [known] = await progressOfSessions(site.site, site.vpgId);
    expect(known?.progress).toMatchObject({
      ...{ lastSequence: final.sequence, hash: final.hash, batches: final.batch + 1, closed: true, end: "open" },
    });
    const newest = (await site.checkpoints())[0];
    expect(newest).toMatchObject({ position: final.checkpoint, tags: [`Final of ${move}`] });
    const image = await site.image(1, final.checkpoint ?? undefined);
    for (const [place, bytes] of wrote) expect(image.subarray(place, place + 4096).equals(bytes)).toBe(true);
    expect(image.equals(readFileSync(join(folder, "data.img")))).toBe(true);
    expect(await close()).toMatchObject({ state: "done", result: { final } });
  });

  /** From the next message on: the `number`-th is cut off, before the site has it or before its answer is here. */
  const cutMessage = (number: number, where: "before" | "after"): void => {
    let seen = 0;
    site.faults.refuse = () => {
      seen += 1;
      site.faults.losesReply = where === "after" && seen === number ? 1 : 0;
      if (where === "before" && seen === number) throw new Transient("the line is cut");
    };
  };

  it.each(["before", "after"] as const)(
    "gives its FINAL and opens again whichever message is cut, %s the site has done it",
    { timeout: 120_000 },
    async (where) => {
      for (let number = 1; number <= messagesOfMove; number += 1) {
        const operationId = `01k3zper4t00000000000001${String(number).padStart(2, "0")}`;
        const client = await connect();
        const bytes = random.bytes(64 * 1024);
        await client.write(number * MiB * 0.5, bytes);
        await client.disconnect();
        cutMessage(number, where);
        const final = finalOf(await close({ operationId }));
        const image = await site.image(1, final.checkpoint ?? undefined);
        expect(image.equals(readFileSync(join(folder, "data.img"))), `message ${number}`).toBe(true);
        cutMessage(number, where);
        expect((await ask({ kind: "open-volumes", operationId })).state, `message ${number}`).toBe("done");
        await until(() => gateway.status().source?.exports === "read-write", "open");
        site.faults.refuse = () => undefined;
        site.faults.losesReply = 0;
        await until(() => stream()?.mode === "replicating", "replicating");
      }
    },
  );

  it("lets no writer in again, also after a restart, whatever the configuration grants", async () => {
    const final = finalOf(await close());
    const denied = async (): Promise<void> => {
      const client = await connect();
      expect(client.readOnly).toBe(true);
      await expect(client.write(0, Buffer.alloc(4096, 1))).rejects.toThrow();
      await client.disconnect();
    };
    await denied();
    await gateway.close();
    await start();
    await denied();
    expect(finalOf(await close())).toEqual(final);
    expect(await progressOfSessions(site.site, site.vpgId)).toHaveLength(1);
  });

  it.each([false, true])(
    "opens again into a session that needs no hashes (restarted before: %s)",
    async (restarted) => {
      const client = await connect();
      await client.write(MiB, random.bytes(64 * 1024));
      await client.disconnect();
      finalOf(await close());
      const before = (await site.checkpoints()).length;
      if (restarted) {
        await gateway.close();
        await start();
      }
      site.requests.length = 0;
      expect((await open()).state).toBe("done");
      expect(gateway.status().source?.exports).toBe("read-write");
      const again = await connect();
      await again.write(2 * MiB, random.bytes(64 * 1024));
      await again.disconnect();
      await until(() => stream()?.idle === true, "idle");
      expect(stream()).toMatchObject({ session: 2, mode: "replicating" });
      expect(site.requests.filter((request) => request.includes("hashes"))).toEqual([]);
      expect((await site.image(1)).equals(readFileSync(join(folder, "data.img")))).toBe(true);
      const listed = (await site.checkpoints()).map(({ id }) => id);
      expect(listed.length).toBeGreaterThan(before);
      const offline = await BucketJournal.open(site.site.objects, site.vpgId);
      expect(offline.checkpoints().map(({ id }) => id)).toEqual(listed.toReversed());
      expect(await open()).toMatchObject({ state: "done" });
      expect(await close()).toMatchObject({ state: "failed", error: { name: "CommandFailed" } });
      expect(gateway.status().source?.exports).toBe("read-write");
    },
  );

  it("is opened by the power-on of its operation too, and by no other's", async () => {
    await close();
    const powerOn = (operationId: string) => ask({ kind: "power-on-source", operationId, vms: ["db"] });
    expect((await powerOn("01k3zper4t0000000000000002")).state).toBe("done");
    expect(gateway.status().source?.exports).toBe("read-only");
    expect((await powerOn(move)).state).toBe("done");
    expect(gateway.status().source?.exports).toBe("read-write");
  });

  it("goes on in its session when it was closed without a FINAL", async () => {
    expect(await close({ final: false })).toMatchObject({ result: { final: null } });
    expect(gateway.status().source?.exports).toBe("read-only");
    await open();
    expect(gateway.status().source?.exports).toBe("read-write");
    expect(stream()).toMatchObject({ session: 1, mode: "replicating" });
  });

  it("gives no FINAL of a session that it lost by a restart, and opens with a comparison", async () => {
    await close({ final: false });
    await gateway.close();
    await start();
    expect(await close()).toMatchObject({ state: "failed", error: { name: "CommandFailed" } });
    await open();
    await until(() => stream()?.mode === "replicating", "replicating");
  });

  it("compares closed disks with the checkpoint, and counts what differs", async () => {
    const client = await connect();
    await client.write(MiB, random.bytes(64 * 1024));
    await client.disconnect();
    const volumes = [{ volume: 1, vmName: "db", name: "data", sizeBytes, sectorBytes: 512 }];
    const verify = (upTo: Position) => ask({ kind: "verify-volumes", upTo, volumes });
    expect(await verify({ session: 1, sequence: 1 })).toMatchObject({ error: { name: "CommandFailed" } });
    const { session, sequence } = finalOf(await close());
    const equal = { state: "done", result: { hashedBytes: sizeBytes, differingBytes: 0 } };
    expect(await verify({ session, sequence })).toMatchObject(equal);
    const file = openSync(join(folder, "data.img"), "r+");
    writeSync(file, Buffer.of(1), 0, 1, 3 * MiB + 5);
    closeSync(file);
    const differs = { state: "done", result: { hashedBytes: sizeBytes, differingBytes: 512 * 1024 } };
    expect(await verify({ session, sequence })).toMatchObject(differs);
  });

  it("runs the remove hooks of VMs that don't run, of closed volumes only", async () => {
    const remove = () => ask({ kind: "remove-source", vms: ["db", "web"] });
    const removed = () => existsSync(join(folder, "removed"));
    expect(await remove()).toMatchObject({ state: "failed", error: { name: "CommandFailed" } });
    await close();
    writeFileSync(join(folder, "running"), "");
    expect(await remove()).toMatchObject({ state: "failed", error: { message: expect.stringContaining("runs") } });
    expect(removed()).toBe(false);
    rmSync(join(folder, "running"));
    expect(await remove()).toMatchObject({ state: "done", result: { removed: ["db"], withoutHook: ["web"] } });
    expect(removed()).toBe(true);
  });

  it("keeps the disks closed when another VPG names them, until a person opens them at the gateway", async () => {
    await close();
    await gateway.close();
    await deleteVpg(site.site, operator, "shop");
    vpgName = "till";
    path = "link.img";
    const till = await createVpg(site.site, { ...definition, name: vpgName }, operator);
    await start();
    expect(gateway.status().source?.exports).toBe("read-only");
    const told = async () => (await vpgView(site.site, till)).sourceClosed;
    await until(async () => (await told()) !== undefined, "told");
    expect(await told()).toContain("farshore gateway open-volumes");
    await until(() => stream() != null, "learnt which VPG it is");
    expect(stream()).toMatchObject({ vpgId: till.vpgId, closedBy: move, closedFor: site.vpgId });
    await gateway.close();
    const state = await StateDirectory.open(join(folder, "state"));
    expect(await closedDisks(state, vpgName)).toMatchObject({ closed: { operationId: move }, held: false });
    await openDisks(state, vpgName);
    await expect(closedDisks(state, "shop")).rejects.toMatchObject({ name: "InvalidInput" });
    await state.close();
    await start();
    await until(() => stream()?.mode === "replicating", "replicating");
    await gateway.close();
    await start();
    expect(gateway.status().source?.exports).toBe("read-write");
    expect(await told()).toBeUndefined();
  });

  it("keeps a mark that came with another VPG's disk from that VPG's operation, and only as long as it has the disk", async () => {
    await close();
    await gateway.close();
    vpgName = "till";
    const till = await createVpg(site.site, { ...definition, name: vpgName }, operator);
    path = "till.img";
    writeFileSync(join(folder, path), Buffer.alloc(sizeBytes));
    await start();
    await until(() => stream()?.mode === "replicating", "replicating");
    await gateway.close();

    path = "link.img";
    await start();
    expect(gateway.status().source?.exports).toBe("read-only");
    expect(stream()).toMatchObject({ vpgId: till.vpgId, mode: "closed", closedBy: move, closedFor: site.vpgId });
    const told = async () => (await vpgView(site.site, till)).sourceClosed;
    await until(async () => (await told()) !== undefined, "told");
    expect(await told()).toContain("farshore gateway open-volumes");
    const ofTill = { vpgId: till.vpgId, vpgName };
    expect(await ask({ kind: "close-volumes", term: null, final: true, ...ofTill })).toMatchObject({ state: "failed" });
    for (const kind of ["open-volumes", "power-on-source"]) {
      await ask({ kind, ...(kind === "open-volumes" ? {} : { vms: ["db"] }), ...ofTill });
      expect(gateway.status().source?.exports, kind).toBe("read-only");
    }
    await gateway.close();

    path = "till.img";
    await start();
    await until(() => stream()?.mode === "replicating", "replicating");
    expect(gateway.status().source?.exports).toBe("read-write");
  });

  it("stays closed by a term, which no operation's undo opens", async () => {
    await close({ term: 3, final: false });
    expect((await open()).state).toBe("done");
    expect(gateway.status().source?.exports).toBe("read-only");
    expect(await close({ operationId: "01k3zper4t0000000000000002" })).toMatchObject({ state: "failed" });
  });
});
