/**
 * The gateway's side of reverse protection: promoted disks that are captured while a guest writes to them, and old disks that become
 * seeds. The site is the real rules behind HTTP with faults in front; images are judged by plain replay of its journal.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { Fenced, RunGrantRefused } from "#core/errors.ts";
import { idSchema } from "#core/ids.ts";
import { editVpg } from "#core/protection/edit-vpg.ts";
import { openSession } from "#core/protection/open-session.ts";
import { getVpg, updateVpg } from "#core/protection/vpg-store.ts";
import { operationId as promotedBy } from "../../test/kit/batches.ts";
import { GatewaySite, shopOf } from "../../test/kit/gateway-site.ts";
import { NbdGuest } from "../../test/kit/nbd-guest.ts";
import { type RandomJournal, randomJournal } from "../../test/kit/random-journal.ts";
import { commandsOf, runCommand } from "../../test/kit/recovery.ts";
import { ReverseGateway } from "../../test/kit/reverse-gateway.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { openAsk, operator } from "../../test/kit/site.ts";
import type { CommandContext } from "../control/handlers.ts";
import { SiteClient } from "../control/site-client.ts";
import { NbdClient } from "../nbd/client.ts";
import { parseNbdUri } from "../nbd/uri.ts";
import { SourceState } from "../state/source-state.ts";
import { StateDirectory } from "../state/state-directory.ts";

const sizes = new Map([
  [1, 9 * chunkBytes + 4096],
  [2, 3 * chunkBytes],
]);
const names = new Map([
  [1, "data"],
  [2, "log-disk"],
]);
const volumes = [...sizes].map(([volume, sizeBytes]) => ({
  volume,
  vmName: "db",
  name: names.get(volume) ?? "",
  sizeBytes,
  sectorBytes: 512 as const,
}));
const definition = shopOf(Object.fromEntries(volumes.map(({ name, sizeBytes }) => [name, sizeBytes])));
const nextOperation = idSchema.parse("01hzzzzzzzzzzzzzzzzzzzzzz9");

describe("reverse protection at the gateway", () => {
  let folder = "";
  let site: GatewaySite;
  let journal: RandomJournal;
  let life: ReverseGateway | undefined;
  let exported: Record<string, unknown> = {};
  const clients: NbdClient[] = [];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "fs-turn-"));
    mkdirSync(join(folder, "state"));
    journal = await randomJournal(new SeededRandom(5), sizes);
    site = await GatewaySite.start(definition);
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.disconnect().catch(() => undefined);
    await life?.close();
    life = undefined;
    await site.close();
    rmSync(folder, { recursive: true });
  });

  const start = async (source = ""): Promise<ReverseGateway> => {
    life = await ReverseGateway.start(folder, site, journal, source);
    return life;
  };
  const stop = async (): Promise<void> => {
    await life?.close();
    life = undefined;
  };
  const context = (signal = new AbortController().signal): CommandContext => ({
    commandId: "c",
    signal,
    progress: () => undefined,
  });
  const connect = async (volume: number): Promise<NbdClient> => {
    const { address, exportName } = parseNbdUri(String(exported[String(volume)]));
    const client = await NbdClient.connect(address, exportName);
    clients.push(client);
    return client;
  };
  /** A live failover's disks, committed. */
  const promote = async ({ recovery }: ReverseGateway): Promise<void> => {
    const commands = commandsOf(journal.upTo, sizes);
    const { vpgId } = site;
    exported = Object(await runCommand(recovery, { ...commands.attach, vpgId }).then((result) => result["exports"]));
    await runCommand(recovery, { ...commands.promote, vpgId });
  };
  const protect = async ({ handlers }: ReverseGateway, term = 1): Promise<Record<string, unknown>> => {
    const base = { operationId: nextOperation, vpgId: site.vpgId, vpgName: "shop", term };
    const body = { kind: "protect-volumes" as const, ...base, promotedBy: idSchema.parse(promotedBy), volumes };
    if (handlers["protect-volumes"] === undefined) throw new Error("no handler");
    return await handlers["protect-volumes"](body, context());
  };
  const seed = async ({ handlers }: ReverseGateway, signal?: AbortSignal): Promise<Record<string, unknown>> => {
    const base = { operationId: nextOperation, vpgId: site.vpgId, vpgName: "shop", term: 1 };
    if (handlers["seed-volumes"] === undefined) throw new Error("no handler");
    return await handlers["seed-volumes"]({ kind: "seed-volumes", ...base, volumes }, context(signal));
  };
  const until = async (met: () => boolean | Promise<boolean>, what: string): Promise<void> => {
    for (let tries = 0; tries < 2000; tries += 1) {
      if (await met()) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`never: ${what}: ${JSON.stringify([life?.sources.status(), life?.log.entries.slice(-5)])}`);
  };
  const status = () => life?.sources.status()[0];
  const settled = () => until(() => status()?.stream?.idle === true, "idle");
  const guestOf = async (volume: number): Promise<NbdGuest> => {
    const base = journal.images.get(volume);
    if (base === undefined) throw new Error("no image");
    const guest = new NbdGuest(await connect(volume), base, new SeededRandom(volume));
    guest.start();
    return guest;
  };

  it("captures promoted disks while guests write: none is dropped, and every checkpoint is an instant of theirs", async () => {
    await promote(await start());
    const guests = new Map([
      [1, await guestOf(1)],
      [2, await guestOf(2)],
    ]);
    await until(() => (guests.get(1)?.writes ?? 0) > 10, "writes before");
    if (life === undefined) throw new Error("no life");
    expect(await protect(life)).toEqual({ session: 1 });
    expect(await protect(life)).toEqual({ session: 1 });
    await until(async () => (await site.checkpoints()).length >= 2, "checkpoints");
    for (const guest of guests.values()) await guest.stop();
    await settled();
    for (const [volume, guest] of guests) {
      expect((await site.image(volume)).equals(guest.image), `volume ${volume}`).toBe(true);
      const taken: (number | undefined)[] = [];
      for (const { position } of [...(await site.checkpoints())].reverse().slice(0, 3)) {
        taken.push(guest.prefixOf(await site.image(volume, position)));
      }
      expect(taken).toEqual([...taken].sort((left, right) => Number(left) - Number(right)));
      expect(taken).not.toContain(undefined);
    }
  });

  it("lets guests go on while the journal's site says no or nothing: nobody else can have the VPG yet", async () => {
    await promote(await start());
    const guest = await guestOf(1);
    let refusals = 0;
    site.faults.refuse = (request) => {
      if (!request.includes("/sessions")) return;
      refusals += 1;
      throw new Fenced("not yet");
    };
    if (life === undefined) throw new Error("no life");
    const protecting = protect(life);
    await until(() => refusals > 2, "refusals");
    const { writes } = guest;
    await until(() => guest.writes > writes + 5, "writes");
    expect(status()?.exports).toBe("read-write");
    site.faults.refuse = () => undefined;
    expect(await protecting).toEqual({ session: 1 });
    await guest.stop();
    await settled();
    expect((await site.image(1)).equals(guest.image)).toBe(true);
  });

  it("serves them after a restart only when the journal's site grants it, and goes on without a sync after a clean end", async () => {
    await promote(await start());
    if (life === undefined) throw new Error("no life");
    await protect(life);
    await settled();
    await stop();
    let refusals = 0;
    site.faults.refuse = (request) => {
      if (!request.includes("/sessions")) return;
      refusals += 1;
      throw new RunGrantRefused("recovered VMs may run");
    };
    await start();
    await until(() => refusals > 1, "refusals");
    await expect(connect(1)).rejects.toThrow();
    expect(life.recovery.attachedOperations()).toEqual([promotedBy]);
    site.faults.refuse = () => undefined;
    site.requests.length = 0;
    await until(() => status()?.exports === "read-write", "served again");
    expect(status()?.stream).toMatchObject({ session: 2, mode: "replicating" });
    expect(site.requests.filter((request) => request.includes("hashes"))).toEqual([]);
    const guest = await guestOf(2);
    await until(() => guest.writes > 3, "writes");
    await guest.stop();
    await settled();
    expect((await site.image(2)).equals(guest.image)).toBe(true);
  });

  it("goes on with the volumes they have when the VPG is edited, says so, and serves them through a restart", async () => {
    await promote(await start());
    if (life === undefined) throw new Error("no life");
    await protect(life);
    await settled();
    const beat = async () => life?.beat(site);
    const edit = async (vms: typeof definition.vms): Promise<void> => {
      const { revision } = (await getVpg(site.site, "shop")).definition;
      const ask = { definition: { ...definition, vms }, revision, dryRun: false };
      await editVpg(site.site, operator, "shop", ask);
    };
    const [vm] = definition.vms;
    if (vm === undefined) throw new Error("no VM");
    await beat();
    const grown = vm.volumes.map((volume) => ({ ...volume, sizeBytes: volume.sizeBytes + chunkBytes }));
    await expect(edit([{ ...vm, volumes: grown }])).rejects.toThrow(
      /can't grow while gateway \S+ runs on recovered disks/,
    );
    await edit([{ ...vm, volumes: [...vm.volumes, { name: "more", sizeBytes: chunkBytes, sectorBytes: 512 }] }]);
    const guest = await guestOf(1);
    await until(async () => (await beat())?.includes("runs on recovered disks here") === true, "told");
    const { length } = await site.checkpoints();
    await until(async () => (await site.checkpoints()).length > length, "checkpoints of the volumes of before");
    await guest.stop();
    await settled();

    await stop();
    await start();
    await until(() => status()?.problem?.name === "VolumesDiffer", "refused");
    await until(() => status()?.exports === "read-write", "served without a session");
    const later = new NbdGuest(await connect(1), guest.image, new SeededRandom(9));
    await later.work(20);
    await edit(definition.vms);
    await until(
      async () => (await beat()) === undefined && status()?.stream?.mode === "replicating",
      "protected again",
    );
    await settled();
    expect((await site.image(1)).equals(later.image)).toBe(true);
  });

  it.each([
    ["stay closed after a restart when a later cycle's end closed them", 2, true],
    ["follow what was closed in an earlier term than theirs", 0, false],
  ])("disks that are served in the place of newer ones %s", async (_name, term, closes) => {
    await promote(await start());
    if (life === undefined) throw new Error("no life");
    await protect(life);
    await settled();
    await stop();
    const directory = await StateDirectory.open(join(folder, "state"));
    const state = await SourceState.load(directory, "shop");
    // As if disks that followed these had been served here until a move ended that, and were then removed by hand.
    const closed = { operationId: nextOperation, vpgId: site.vpgId, term, disks: [], final: null };
    await state.save({ promotedBy: nextOperation, closed });
    await directory.close();
    await start();
    if (!closes) return await settled();
    await until(() => life?.sources.streams()[0]?.mode === "closed", "closed");
    await until(() => status()?.exports === "read-only", "read-only");
    const client = await connect(1);
    await expect(client.write(0, Buffer.alloc(4096, 1))).rejects.toThrow();
    await stop();
    const kept = await StateDirectory.open(join(folder, "state"));
    expect((await SourceState.load(kept, "shop")).facts).toMatchObject({ promotedBy, closed });
    await kept.close();
  });

  it("compares everything after a restart with other bytes on a disk than it left", async () => {
    await promote(await start());
    if (life === undefined) throw new Error("no life");
    await protect(life);
    await settled();
    await stop();
    const data = join(folder, "r", "operations", promotedBy, "1", "data");
    const bytes = readFileSync(data);
    bytes.fill(0x77, 5 * chunkBytes + 512, 5 * chunkBytes + 1024);
    writeFileSync(data, bytes);
    await start();
    await settled();
    expect((await site.image(1)).equals(bytes)).toBe(true);
    expect(status()?.stream?.session).toBe(2);
  });

  it("takes write access away when somebody else has the VPG after the first session", async () => {
    await promote(await start());
    if (life === undefined) throw new Error("no life");
    await protect(life);
    await settled();
    const { source } = site.protectedVpg;
    const offered = volumes.map(({ vmName, name, sizeBytes, sectorBytes }) => ({
      vmName,
      name,
      sizeBytes,
      sectorBytes,
    }));
    await openSession(site.site, source, openAsk(site.site, site.vpgId, { lastSession: 1, volumes: offered }));
    const client = await connect(1);
    await client.write(0, Buffer.alloc(4096, 1)).catch(() => undefined);
    await until(() => status()?.exports === "read-only", "read-only");
    await expect(client.write(0, Buffer.alloc(4096, 2))).rejects.toThrow();
  });

  it("refuses disks that are not promoted, or not the VPG's", async () => {
    const { recovery } = await start();
    const commands = commandsOf(journal.upTo, sizes);
    await runCommand(recovery, { ...commands.attach, vpgId: site.vpgId });
    if (life === undefined) throw new Error("no life");
    await expect(protect(life)).rejects.toThrow("has no promoted volumes");
    await runCommand(recovery, { ...commands.promote, vpgId: site.vpgId });
    const body = { operationId: nextOperation, vpgId: site.vpgId, vpgName: "shop", term: 1 };
    const fewer = { kind: "protect-volumes" as const, ...body, promotedBy: idSchema.parse(promotedBy) };
    await expect(
      life.handlers["protect-volumes"]?.({ ...fewer, volumes: volumes.slice(1) }, context()),
    ).rejects.toThrow("are not those to be protected");
  });

  describe("with old disks in the configuration", () => {
    const old = new Map<number, Buffer>();
    const source = (): string =>
      `vpg = "shop"\nsocket = "shop.sock"\n${volumes
        .map(({ vmName, name }) => `[[source.volume]]\nvm = "${vmName}"\nname = "${name}"\npath = "${name}.img"\n`)
        .join("")}`;
    const writeOld = (): void => {
      for (const [volume, bytes] of old) writeFileSync(join(folder, `${names.get(volume)}.img`), bytes);
    };
    beforeEach(() => {
      const random = new SeededRandom(9);
      for (const [volume, sizeBytes] of sizes) {
        const bytes = random.bytes(sizeBytes);
        bytes.fill(0, chunkBytes, 2 * chunkBytes);
        old.set(volume, bytes);
      }
      writeOld();
    });
    /** The site has the VPG in a term in which this gateway's capture is refused. */
    const closed = async (): Promise<ReverseGateway> => {
      site.faults.refuse = (request) => {
        if (request.includes("/sessions")) throw new Fenced("was failed over");
      };
      const started = await start(source());
      await until(() => status()?.problem?.name === "Fenced", "the refusal");
      return started;
    };
    /** The site has taken an offer whose term began and whose source is another gateway: of this one it takes seeds alone. */
    const seedsOnly = async (): Promise<void> => {
      const offer = { n: 1, operationId: nextOperation, gatewayLost: false, closed: true, begun: true, attempt: 1 };
      const gateways = [idSchema.parse(site.protectedVpg.source.gatewayId)];
      const vpg = await getVpg(site.site, site.vpgId);
      await updateVpg(site.site, vpg, {
        definition: { ...vpg.definition, sourceGatewayId: nextOperation, sourceGatewayName: "gw-paris" },
        role: "Preparing",
        gatewaySessions: vpg.gatewaySessions ?? {},
        reverse: { ...offer, gateways },
      });
      site.faults.refuse = () => undefined;
    };

    it("brings them into the journal by hashes, lists no checkpoint of it, and ships only differences the second time", async () => {
      const first = await closed();
      await seedsOnly();
      const shipped = await seed(first);
      expect(shipped).toMatchObject({ hashedBytes: 13 * chunkBytes });
      for (const [volume, bytes] of old)
        expect((await site.image(volume)).equals(bytes), `volume ${volume}`).toBe(true);
      expect(await site.checkpoints()).toEqual([]);
      await stop();
      // Behind everybody's back.
      old.get(1)?.fill(0x55, 4 * chunkBytes + 512, 4 * chunkBytes + 1024);
      old.get(2)?.fill(0, 2 * chunkBytes, 3 * chunkBytes);
      writeOld();
      const second = await closed();
      await seedsOnly();
      expect(await seed(second)).toEqual({
        hashedBytes: 13 * chunkBytes,
        differingBytes: 2 * chunkBytes,
        shippedBytes: 4096 + chunkBytes,
        unreadableBytes: 0,
        leftOut: [],
      });
      for (const [volume, bytes] of old)
        expect((await site.image(volume)).equals(bytes), `volume ${volume}`).toBe(true);
      expect(await site.checkpoints()).toEqual([]);
    });

    it("begins again after a kill and ships what is missing", async () => {
      const first = await closed();
      await seedsOnly();
      const dies = new AbortController();
      site.faults.refuse = (request) => {
        if (request.includes("PUT") && request.endsWith("/0")) dies.abort(new Error("the gateway dies"));
      };
      await expect(seed(first, dies.signal)).rejects.toThrow("the gateway dies");
      await stop();
      const second = await closed();
      await seedsOnly();
      await seed(second);
      for (const [volume, bytes] of old)
        expect((await site.image(volume)).equals(bytes), `volume ${volume}`).toBe(true);
      expect(await site.checkpoints()).toEqual([]);
    });

    it("seeds no disk that is in use", async () => {
      const started = await start(source());
      await until(() => status()?.exports === "read-write", "served");
      await expect(seed(started)).rejects.toThrow("are in use here");
    });

    it("takes no write any more once its own site has closed them for a term, whatever the other site grants", async () => {
      const started = await start(source());
      await until(() => status()?.exports === "read-write", "served");
      const { address, exportName } = {
        address: { socketPath: join(folder, "shop.sock") },
        exportName: "shop/db/data",
      };
      const client = await NbdClient.connect(address, exportName);
      clients.push(client);
      await client.write(0, Buffer.alloc(4096, 1));
      const close = { kind: "close-volumes" as const, vpgId: site.vpgId, vpgName: "shop", final: false };
      const body = { ...close, operationId: nextOperation, term: 1 };
      expect(await started.handlers["close-volumes"]?.(body, context())).toEqual({ final: null });
      await expect(client.write(0, Buffer.alloc(4096, 2))).rejects.toThrow();
      await stop();
      const again = await start(`start_without_grant = "always"\n${source()}`);
      await until(() => status()?.exports !== "absent", "served");
      const stale = await NbdClient.connect(address, exportName);
      clients.push(stale);
      await expect(stale.write(0, Buffer.alloc(4096, 3))).rejects.toThrow();
      // The very term that closed them takes no disk here; a later one takes those that a commit made meanwhile.
      await promote(again);
      await expect(protect(again, 1)).rejects.toThrow("closed since term 1");
      const guest = await guestOf(2);
      // The site's terms stand still here, so that the command itself waits on.
      const protecting = expect(protect(again, 2)).rejects.toThrow();
      await until(() => status()?.stream?.session === 2, "a session");
      await until(() => guest.writes > 3, "writes");
      await guest.stop();
      await settled();
      expect((await site.image(2)).equals(guest.image)).toBe(true);
      await stop();
      await protecting;
    });

    it("obeys each site only in what it has a say in", async () => {
      const { sources, recovery } = await start(source());
      const site = new SiteClient({ url: "http://127.0.0.1:1", access: { kind: "token", token: "t" } }, 1);
      const link = {
        address: { url: "http://127.0.0.1:1", access: { kind: "token" as const, token: "t" } },
        client: site,
      };
      const own = sources.handlersFor({ journals: false, own: { recovery, link } });
      const there = sources.handlersFor({ journals: true });
      expect(Object.keys(own).sort()).toEqual(["close-volumes", "protect-volumes", "seed-volumes"]);
      expect(Object.keys(there)).not.toContain("seed-volumes");
      expect(Object.keys(there)).not.toContain("protect-volumes");
      await until(() => status()?.exports === "read-write", "served");
      const vpg = { vpgId: status()?.stream?.vpgId ?? nextOperation, vpgName: "shop" };
      const close = { kind: "close-volumes" as const, operationId: nextOperation, ...vpg, final: false };
      await expect(own["close-volumes"]?.({ ...close, term: null }, context())).rejects.toThrow("only the site that");
      expect(status()?.exports).toBe("read-write");
      await site.close();
    });

    it("lets promoted disks follow those of the configuration, for good", async () => {
      const started = await closed();
      site.faults.refuse = () => undefined;
      await promote(started);
      const guest = await guestOf(1);
      await protect(started);
      await until(() => guest.writes > 3, "writes");
      await guest.stop();
      await settled();
      expect((await site.image(1)).equals(guest.image)).toBe(true);
      expect(started.sources.status()).toHaveLength(1);
      await stop();
      const again = await start(source());
      await settled();
      expect(again.sources.status()).toHaveLength(1);
      expect(again.log.entries.map(({ event }) => event)).toContain("source.disks-superseded");
      expect((await site.image(1)).equals(guest.image)).toBe(true);
      expect(readFileSync(join(folder, "data.img")).equals(old.get(1) ?? Buffer.alloc(0))).toBe(true);
    });
  });
});
