import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { Diverged, Fenced, RunGrantRefused } from "#core/errors.ts";
import { openSession } from "#core/protection/open-session.ts";
import { GatewaySite, shopOf } from "../../test/kit/gateway-site.ts";
import { HastyClock } from "../../test/kit/hasty-clock.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { openAsk } from "../../test/kit/site.ts";
import { parseGatewayConfig } from "../config.ts";
import { SiteClient } from "../control/site-client.ts";
import { NbdClient } from "../nbd/client.ts";
import { NbdServer } from "../nbd/server.ts";
import { StateDirectory } from "../state/state-directory.ts";
import { SourceDisks } from "./source-disks.ts";
import { SourceHalf } from "./source-half.ts";
import { thisMachine } from "./source-host.ts";

const sizeBytes = 4 * 2 ** 20;
const definition = shopOf({ data: sizeBytes });
const volumes = [{ vmName: "db", name: "data", sizeBytes, sectorBytes: 512 }];

/** The first session that it opens is one whose batches can't be made: the thread that tries dies of it. */
class DeadlyClient extends SiteClient {
  #opened = 0;
  override async openSession(...ask: Parameters<SiteClient["openSession"]>) {
    this.#opened += 1;
    const reply = await super.openSession(...ask);
    return this.#opened === 1 ? { ...reply, configRevision: -1 } : reply;
  }
}

/** One life of the capture half, without heartbeats. */
class Life {
  readonly half: SourceHalf;
  readonly #client: SiteClient;
  readonly #state: StateDirectory;

  private constructor(half: SourceHalf, client: SiteClient, state: StateDirectory) {
    this.half = half;
    this.#client = client;
    this.#state = state;
  }

  static async start(folder: string, site: GatewaySite, extra = "", Client = SiteClient): Promise<Life> {
    const text = `site = "${site.url}"
state = "state"
[source]
vpg = "shop"
socket = "shop.sock"
drain = "30s"
${extra}
[[source.volume]]
vm = "db"
name = "data"
path = "data.img"
`;
    const config = parseGatewayConfig(text, { path: join(folder, "gateway.toml"), token: "token" });
    if (config.source?.vpg === undefined) throw new Error("no source");
    const { name, socket, volumes } = config.source.vpg;
    if (socket === undefined) throw new Error("no socket");
    const address = config.site;
    const client = new Client(address, 4);
    const state = await StateDirectory.open(config.stateDirectory);
    const server = new NbdServer({ log: new QuietLog() });
    const disks = await SourceDisks.open(name, server, volumes);
    await server.listenUnix(socket);
    const half = await SourceHalf.open({
      disks,
      capture: config.source,
      barrier: undefined,
      rate: () => undefined,
      host: thisMachine,
      hooks: config.hooks,
      directory: config.directory,
      address,
      site: client,
      state,
      clock: new HastyClock(),
      random: new SystemRandom(),
      log: new QuietLog(),
      onCrash: (error) => {
        throw error;
      },
    });
    half.start();
    return new Life(half, client, state);
  }

  async close(): Promise<void> {
    await this.half.close();
    await this.#client.close();
    await this.#state.close();
  }
}

describe("who may write", () => {
  let folder = "";
  let site: GatewaySite;
  let life: Life | undefined;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "farshore-authority-"));
    mkdirSync(join(folder, "state"));
    writeFileSync(join(folder, "data.img"), Buffer.alloc(sizeBytes, 3));
    site = await GatewaySite.start(definition);
  });
  afterEach(async () => {
    await life?.close();
    life = undefined;
    await site.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const start = async (extra = ""): Promise<SourceHalf> => {
    life = await Life.start(folder, site, extra);
    return life.half;
  };
  const stop = async (): Promise<void> => {
    await life?.close();
    life = undefined;
  };
  const stateFile = (): string => join(folder, "state", "source-shop.json");
  const until = async (met: () => boolean, what: string): Promise<void> => {
    for (let tries = 0; tries < 1000; tries += 1) {
      if (met()) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`never: ${what}: ${JSON.stringify(life?.half.status())}`);
  };
  const mode = (half: SourceHalf) => half.status().stream?.mode;
  const replicating = (half: SourceHalf) => until(() => mode(half) === "replicating", "replicating");

  it("compares the disks when the answer that vouched for them was to an earlier life", async () => {
    await replicating(await start());
    await stop();
    // A life asked, with clean disks, and was killed before the answer came.
    const facts = JSON.parse(readFileSync(stateFile(), "utf8"));
    expect(facts).toMatchObject({ clean: true, session: 1 });
    const { source } = site.protectedVpg;
    const { acknowledgedBatch } = facts;
    const ask = openAsk(site.site, site.vpgId, { lastSession: 1, acknowledgedBatch, cleanlyClosed: true, volumes });
    expect(await openSession(site.site, source, ask)).toMatchObject({ session: 2, continues: true });
    writeFileSync(stateFile(), JSON.stringify({ ...facts, pendingNonce: ask.nonce }));
    writeFileSync(join(folder, "data.img"), Buffer.alloc(sizeBytes, 4));
    const half = await start();
    await half.serving;
    expect(half.status().stream).toMatchObject({ session: 2, mode: "delta-sync" });
    await replicating(half);
    await until(() => half.status().stream?.idle === true, "idle");
    for (const checkpoint of await site.checkpoints()) {
      const image = await site.image(1, checkpoint.position);
      expect(image.equals(Buffer.alloc(sizeBytes, checkpoint.position.session === 1 ? 3 : 4)), checkpoint.id).toBe(
        true,
      );
    }
  });

  it("stays closed after a fence when the site can't be asked, whatever start_without_grant says", async () => {
    const first = await start();
    await replicating(first);
    await openSession(site.site, site.protectedVpg.source, openAsk(site.site, site.vpgId, { lastSession: 1, volumes }));
    const client = await NbdClient.connect({ socketPath: join(folder, "shop.sock") }, "shop/db/data");
    await client.write(0, Buffer.alloc(4096, 1)).catch(() => undefined);
    await until(() => first.status().exports === "read-only", "fenced");
    await client.disconnect().catch(() => undefined);
    await stop();
    await site.close();
    const second = await start('start_without_grant = "always"');
    await until(() => second.status().problem?.name === "Transient", "no answer");
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(second.status().exports).toBe("absent");
  });

  it("stays closed after a refusal when the site can't be asked any more", async () => {
    site.faults.refuse = (request) => {
      if (request.includes("/sessions")) throw new Fenced("shop was failed over");
    };
    const half = await start('start_without_grant = "always"');
    await until(() => half.status().problem?.name === "Fenced", "the refusal");
    await site.close();
    await until(() => half.status().problem?.name === "Transient", "no answer");
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(half.status().exports).toBe("absent");
  });

  it("goes on writing when its session is lost while a failover is under way", async () => {
    const half = await start();
    await replicating(half);
    let refused = 0;
    site.faults.refuse = (request) => {
      if (request.includes("PUT")) throw new Diverged("lost");
      if (!request.includes("/sessions")) return;
      refused += 1;
      throw new RunGrantRefused("recovered VMs may run");
    };
    const client = await NbdClient.connect({ socketPath: join(folder, "shop.sock") }, "shop/db/data");
    await client.write(0, Buffer.alloc(4096, 1));
    await until(() => refused > 2, "refusals");
    await client.write(4096, Buffer.alloc(4096, 1));
    expect(half.status().exports).toBe("read-write");
    site.faults.refuse = () => undefined;
    await replicating(half);
    expect(half.status().stream?.session).toBe(2);
    await client.disconnect();
  });

  it("serves volumes that are not the definition's under the run grant alone, and not where that is refused", async () => {
    truncateSync(join(folder, "data.img"), sizeBytes / 2);
    let refusal: Error | undefined = new RunGrantRefused("recovered VMs may run");
    let refused = 0;
    site.faults.refuse = (request) => {
      if (!request.includes("/sessions") || refusal === undefined) return;
      refused += 1;
      throw refusal;
    };
    const half = await start('start_without_grant = "always"');
    await until(() => refused > 2, "refusals");
    expect(half.status().exports).toBe("absent");
    refusal = undefined;
    await until(() => half.status().exports === "read-write", "served");
    expect(half.status()).toMatchObject({ problem: { name: "VolumesDiffer" }, stream: { session: 0 } });
    expect(JSON.parse(readFileSync(stateFile(), "utf8"))).toMatchObject({ clean: false, fenced: null });
    const client = await NbdClient.connect({ socketPath: join(folder, "shop.sock") }, "shop/db/data");
    await client.write(0, Buffer.alloc(4096, 1));
    // A failover that begins takes nothing from it; its commit does.
    refusal = new RunGrantRefused("recovered VMs may run");
    refused = 0;
    await until(() => refused > 2, "refusals");
    await client.write(4096, Buffer.alloc(4096, 1));
    refusal = new Fenced("shop was failed over");
    await until(() => half.status().exports === "read-only", "fenced");
    await expect(client.write(8192, Buffer.alloc(4096, 1))).rejects.toThrow();
    await client.disconnect().catch(() => undefined);
  });

  it("takes write access away at a fence even if its state directory is gone", async () => {
    const half = await start();
    await replicating(half);
    rmSync(join(folder, "state"), { recursive: true });
    await openSession(site.site, site.protectedVpg.source, openAsk(site.site, site.vpgId, { lastSession: 1, volumes }));
    const client = await NbdClient.connect({ socketPath: join(folder, "shop.sock") }, "shop/db/data");
    await client.write(0, Buffer.alloc(4096, 1)).catch(() => undefined);
    await until(() => half.status().exports === "read-only", "read-only");
    await client.disconnect().catch(() => undefined);
    mkdirSync(join(folder, "state"));
  });

  it("serves on when the thread that ships dies, and syncs in a new session", async () => {
    life = await Life.start(folder, site, "", DeadlyClient);
    const { half } = life;
    await half.serving;
    const client = await NbdClient.connect({ socketPath: join(folder, "shop.sock") }, "shop/db/data");
    await until(() => half.status().stream?.session === 2, "a new session");
    await client.write(0, Buffer.alloc(4096, 1));
    await replicating(half);
    await client.disconnect();
    await until(() => half.status().stream?.idle === true, "idle");
    expect((await site.image(1)).equals(readFileSync(join(folder, "data.img")))).toBe(true);
  });

  it("is not fenced by the answer to a heartbeat of the session before", async () => {
    const half = await start();
    await replicating(half);
    const [sent] = half.streams();
    if (sent === undefined) throw new Error("no stream");
    const fenced = [{ vpgId: sent.vpgId, fenced: true, paused: false, deleted: false, term: 1 }];
    half.told(fenced, [{ ...sent, session: 0 }]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(half.status().exports).toBe("read-write");
    half.told(fenced, [sent]);
    await until(() => half.status().exports === "read-only", "fenced");
  });
});
