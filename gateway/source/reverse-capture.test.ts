/**
 * The gateway's side of reverse protection: promoted disks that are captured while a guest writes to them, and old disks that become
 * seeds. The site is the real rules behind HTTP with faults in front; images are judged by plain replay of its journal.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { createVpgSchema } from "#core/api/site-api.ts";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { Fenced, RunGrantRefused } from "#core/errors.ts";
import { idSchema } from "#core/ids.ts";
import type { Clock } from "#core/ports.ts";
import { openSession } from "#core/protection/open-session.ts";
import { vpgId as journalVpg, operationId as promotedBy } from "../../test/kit/batches.ts";
import { GatewaySite } from "../../test/kit/gateway-site.ts";
import { BucketRoutes } from "../../test/kit/journal-routes.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { type RandomJournal, randomJournal } from "../../test/kit/random-journal.ts";
import { commandsOf, runCommand } from "../../test/kit/recovery.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { openAsk } from "../../test/kit/site.ts";
import { parseGatewayConfig } from "../config.ts";
import type { CommandContext, CommandHandlers } from "../control/handlers.ts";
import { SiteClient } from "../control/site-client.ts";
import { HttpJournal } from "../export/http-journal.ts";
import { openRecoveryHalf } from "../export/recovery-half.ts";
import { NbdClient } from "../nbd/client.ts";
import { parseNbdUri } from "../nbd/uri.ts";
import type { RecoveryHalf } from "../recovery-half.ts";
import { StateDirectory } from "../state/state-directory.ts";
import { Sources } from "./sources.ts";

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
const definition = createVpgSchema.parse({
  name: "shop",
  protectedSite: "berlin",
  sourceGateway: "gw-berlin",
  recoveryGateway: null,
  compute: "none",
  checkpointIntervalMs: 1000,
  vms: [{ name: "db", volumes: volumes.map(({ name, sizeBytes }) => ({ name, sizeBytes })) }],
});
const nextOperation = idSchema.parse("01hzzzzzzzzzzzzzzzzzzzzzz9");

/** The system's, but for pauses between attempts, which are short. */
class HastyClock extends SystemClock implements Clock {
  override sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return super.sleep(Math.min(ms, 50), signal);
  }
}

/** One life of a gateway with both halves, without heartbeats; its captures go to `site`. */
class Life {
  readonly sources: Sources;
  readonly recovery: RecoveryHalf;
  readonly handlers: CommandHandlers;
  readonly log: QuietLog;
  readonly #client: SiteClient;
  readonly #state: StateDirectory;

  private constructor(
    parts: Pick<Life, "sources" | "recovery" | "handlers" | "log">,
    client: SiteClient,
    state: StateDirectory,
  ) {
    this.sources = parts.sources;
    this.recovery = parts.recovery;
    this.handlers = parts.handlers;
    this.log = parts.log;
    this.#client = client;
    this.#state = state;
  }

  static async start(folder: string, site: GatewaySite, journal: RandomJournal, source = ""): Promise<Life> {
    const text = `site = "${site.url}"\nstate = "state"\n[recovery]\ndirectory = "r"\n[source]\ndrain = "20s"\n${source}\n`;
    const config = parseGatewayConfig(text, { path: join(folder, "gateway.toml"), token: "token" });
    if (config.source === undefined) throw new Error("no source");
    const log = new QuietLog();
    const clock = new HastyClock();
    const random = new SystemRandom();
    const state = await StateDirectory.open(config.stateDirectory);
    const client = new SiteClient(config.site, 4);
    const routes = new BucketRoutes(journal.objects);
    const vpgId = idSchema.parse(journalVpg);
    const recovery = await openRecoveryHalf({
      directory: join(folder, "r"),
      hooks: new Map(),
      hookDirectory: folder,
      journal: (_, upTo, signal) => new HttpJournal({ routes, vpgId, upTo, clock, random, log, signal }),
      clock,
      log,
    });
    const captured = await recovery.captured();
    const { hooks, directory } = config;
    const own = { address: config.site, site: client, state, hooks, directory };
    const onCrash = (error: Error): void => {
      throw error;
    };
    const sources = await Sources.open({ ...own, config: config.source, clock, random, log, onCrash, captured });
    await recovery.resume();
    for (const operation of captured) await sources.resume(operation, recovery);
    sources.start();
    const handlers = sources.reverseHandlers(recovery, { address: config.site, client });
    return new Life({ sources, recovery, handlers, log }, client, state);
  }

  async close(): Promise<void> {
    await this.sources.close();
    await this.recovery.close();
    await this.#client.close();
    await this.#state.close();
  }
}

/** Writes one request after the other and knows what the disk must hold, by its own log alone. */
class Guest {
  readonly image: Buffer;
  /** The image as it was before the first write, and every write, for any prefix of them. */
  readonly #base: Buffer;
  readonly #writes: { readonly offset: number; readonly bytes: Buffer }[] = [];
  readonly #client: NbdClient;
  readonly #random: SeededRandom;
  #stopped = false;
  #loop: Promise<void> | undefined;

  constructor(client: NbdClient, base: Buffer, random: SeededRandom) {
    this.#client = client;
    this.#base = base;
    this.image = Buffer.from(base);
    this.#random = random;
  }

  get writes(): number {
    return this.#writes.length;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** Rejects when any write failed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#loop;
  }

  /** How many of the first writes make this image; undefined when no number does. */
  prefixOf(image: Buffer): number | undefined {
    const replay = Buffer.from(this.#base);
    if (replay.equals(image)) return 0;
    for (const [index, { offset, bytes }] of this.#writes.entries()) {
      bytes.copy(replay, offset);
      if (replay.equals(image)) return index + 1;
    }
    return undefined;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const length = 512 * (1 + this.#random.below(64));
      const offset = 512 * this.#random.below((this.image.length - length) / 512);
      const bytes = this.#random.bytes(length);
      await this.#client.write(offset, bytes, { fua: this.#random.chance(0.1) });
      bytes.copy(this.image, offset);
      this.#writes.push({ offset, bytes });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

describe("reverse protection at the gateway", () => {
  let folder = "";
  let site: GatewaySite;
  let journal: RandomJournal;
  let life: Life | undefined;
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

  const start = async (source = ""): Promise<Life> => {
    life = await Life.start(folder, site, journal, source);
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
  const promote = async ({ recovery }: Life): Promise<void> => {
    const commands = commandsOf(journal.upTo, sizes);
    const { vpgId } = site;
    exported = Object(await runCommand(recovery, { ...commands.attach, vpgId }).then((result) => result["exports"]));
    await runCommand(recovery, { ...commands.promote, vpgId });
  };
  const protect = async ({ handlers }: Life): Promise<Record<string, unknown>> => {
    const base = { operationId: nextOperation, vpgId: site.vpgId, vpgName: "shop", term: 1 };
    const body = { kind: "protect-volumes" as const, ...base, promotedBy: idSchema.parse(promotedBy), volumes };
    if (handlers["protect-volumes"] === undefined) throw new Error("no handler");
    return await handlers["protect-volumes"](body, context());
  };
  const seed = async ({ handlers }: Life, signal?: AbortSignal): Promise<Record<string, unknown>> => {
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
  const guestOf = async (volume: number): Promise<Guest> => {
    const base = journal.images.get(volume);
    if (base === undefined) throw new Error("no image");
    const guest = new Guest(await connect(volume), base, new SeededRandom(volume));
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
    const closed = async (): Promise<Life> => {
      site.faults.refuse = (request) => {
        if (request.includes("/sessions")) throw new Fenced("was failed over");
      };
      const started = await start(source());
      await until(() => status()?.problem?.name === "Fenced", "the refusal");
      return started;
    };
    /** What the capture asks for goes on to be refused; the seeds' session is the only one that is opened. */
    const seedsOnly = (): void => {
      site.faults.refuse = () => undefined;
    };

    it("brings them into the journal by hashes, lists no checkpoint of it, and ships only differences the second time", async () => {
      const first = await closed();
      seedsOnly();
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
      seedsOnly();
      expect(await seed(second)).toEqual({
        hashedBytes: 13 * chunkBytes,
        differingBytes: 2 * chunkBytes,
        shippedBytes: 64 * 1024 + chunkBytes,
      });
      for (const [volume, bytes] of old)
        expect((await site.image(volume)).equals(bytes), `volume ${volume}`).toBe(true);
      expect(await site.checkpoints()).toEqual([]);
    });

    it("begins again after a kill and ships what is missing", async () => {
      const first = await closed();
      seedsOnly();
      const dies = new AbortController();
      site.faults.refuse = (request) => {
        if (request.includes("PUT") && request.endsWith("/0")) dies.abort(new Error("the gateway dies"));
      };
      await expect(seed(first, dies.signal)).rejects.toThrow("the gateway dies");
      await stop();
      const second = await closed();
      seedsOnly();
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

    it("lets promoted disks follow those of the configuration, for good", async () => {
      const started = await closed();
      seedsOnly();
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
