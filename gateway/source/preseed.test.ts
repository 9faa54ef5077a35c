import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { Transient } from "#core/errors.ts";
import { type Id, newId } from "#core/ids.ts";
import { GatewaySite, shopOf } from "../../test/kit/gateway-site.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { parseGatewayConfig } from "../config.ts";
import { SiteClient } from "../control/site-client.ts";
import { type RunningGateway, runGateway } from "../main.ts";
import { StateDirectory } from "../state/state-directory.ts";
import { preseedHandlers } from "./preseed.ts";

const MiB = 2 ** 20;
const sizeBytes = 11 * MiB + 4096;
const definition = shopOf({ data: sizeBytes }, { recoveryGateway: "gw-recovery", compute: "gateway" });

describe("copies of disks at a recovery gateway", { timeout: 120_000 }, () => {
  let folder = "";
  let site: GatewaySite;
  let source: RunningGateway | undefined;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "farshore-copies-"));
    for (const name of ["shipped", "run", "recovery-state", "source-state"]) mkdirSync(join(folder, name));
    site = await GatewaySite.start(definition);
    const content = new SeededRandom(7).bytes(sizeBytes);
    for (const name of ["shipped/data.img", "data.img"]) writeFileSync(join(folder, name), content);
  });
  afterEach(async () => {
    await source?.close();
    source = undefined;
    await site.close();
    rmSync(folder, { recursive: true });
  });

  /** One life of the recovery gateway, until the preseed is done or the signal ends it. */
  async function preseed(signal: AbortSignal): Promise<Record<string, unknown>> {
    return withHandler((run) => run(site.vpgId, "data.img", signal));
  }

  type Run = (vpgId: Id, path: string, signal: AbortSignal) => Promise<Record<string, unknown>>;

  async function withHandler<Result>(use: (run: Run) => Promise<Result>): Promise<Result> {
    const text = `site = "${site.url}"\nstate = "recovery-state"\n[recovery]\ndirectory = "r"\npreseed = "shipped"\n`;
    const config = parseGatewayConfig(text, { path: join(folder, "recovery.toml"), token: "recovery" });
    const client = new SiteClient(config.site, 4);
    const state = await StateDirectory.open(config.stateDirectory);
    try {
      const link = { address: config.site, client };
      const world = { clock: new SystemClock(), random: new SystemRandom(), log: new QuietLog() };
      const handlers = preseedHandlers({ directory: config.recovery?.preseedDirectory, link, state, ...world });
      const handler = handlers["preseed-volumes"];
      if (handler === undefined) throw new Error("no handler");
      const volume = { volume: 1, vmName: "db", name: "data", sizeBytes, sectorBytes: 512 as const };
      return await use((vpgId, path, signal) => {
        const body = {
          kind: "preseed-volumes" as const,
          vpgId,
          vpgName: "shop",
          term: 1,
          volumes: [{ ...volume, path }],
        };
        return handler(body, { commandId: "c", signal, progress: () => undefined });
      });
    } finally {
      await state.close();
      await client.close();
    }
  }

  /** Only a part of the copy arrives; answers how many bytes don't. */
  async function preseedKilled(): Promise<number> {
    const dies = new AbortController();
    site.faults.refuse = (request) => {
      if (!/^PUT .*\/[2-9]$/.test(request)) return;
      dies.abort(new Error("the gateway dies"));
      throw new Transient("nobody waits for it");
    };
    await expect(preseed(dies.signal)).rejects.toThrow("the gateway dies");
    // Whatever it sent before has come or never does: batches go side by side, and one may still be on its way in.
    await site.close();
    site.faults.refuse = () => undefined;
    await site.listen();
    const [arrived, copy] = [await site.image(1), readFileSync(join(folder, "shipped/data.img"))];
    let missing = 0;
    for (let at = 0; at < sizeBytes; at += 4096) {
      const block = copy.subarray(at, at + 4096);
      if (!block.equals(arrived.subarray(at, at + 4096))) missing += block.length;
    }
    expect(missing).toBeGreaterThan(0);
    return missing;
  }

  /** Resolves when the source replicates; whether the journal has its disk then, and what it sent for that. */
  async function protect(): Promise<{ equal: boolean; shippedBytes: number }> {
    const volume = '[[source.volume]]\nvm = "db"\nname = "data"\npath = "data.img"\n';
    const text = `site = "${site.url}"\nstate = "source-state"\n[source]\nvpg = "shop"\nsocket = "run/s.sock"\n${volume}`;
    const config = parseGatewayConfig(text, { path: join(folder, "source.toml"), token: "source" });
    source = await runGateway({ config, log: new QuietLog() });
    await source.ready;
    for (let tries = 0; site.lastStream?.mode !== "replicating" || !site.lastStream.idle; tries += 1) {
      if (tries > 4000) throw new Error(`never: ${JSON.stringify(source.status())}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const image = await site.image(1);
    const { shippedBytes } = site.lastStream.lastSync ?? { shippedBytes: Number.NaN };
    return { equal: image.equals(readFileSync(join(folder, "data.img"))), shippedBytes };
  }

  it("save the source what they brought, and after a kill what had come by then", async () => {
    const missing = await preseedKilled();
    expect(await protect()).toEqual({ equal: true, shippedBytes: missing });
  });

  it("bring all of it in the next life, and then the source sends nothing", async () => {
    await preseedKilled();
    expect(await preseed(new AbortController().signal)).toMatchObject({ hashedBytes: 12 * MiB - MiB / 2 });
    expect(await protect()).toEqual({ equal: true, shippedBytes: 0 });
  });

  it("may have places that can't be read: they are counted, and the source sends them", async () => {
    // Whoever reads behind the end of a file that was cut gets nothing, as from a bad sector.
    const cut = (request: string): void => {
      if (request.startsWith("POST")) truncateSync(join(folder, "shipped/data.img"), 8 * MiB);
    };
    site.faults.refuse = cut;
    const lost = 4 * MiB - MiB / 2;
    expect(await preseed(AbortSignal.timeout(60_000))).toMatchObject({ unreadableBytes: lost, shippedBytes: 8 * MiB });
    site.faults.refuse = () => undefined;
    expect(await protect()).toEqual({ equal: true, shippedBytes: sizeBytes - 8 * MiB });
  });

  it("are read one after the other, so that each has memory and disks for itself", async () => {
    const dies = new AbortController();
    let asked = 0;
    site.faults.refuse = () => {
      asked += 1;
      if (asked > 3) dies.abort(new Error("the gateway dies"));
      throw new Transient("nobody is there");
    };
    const ended: string[] = [];
    await withHandler(async (run) => {
      const first = run(site.vpgId, "data.img", dies.signal).catch(() => ended.push("first"));
      const other = newId(new SystemClock(), new SystemRandom());
      const second = run(other, "missing.img", new AbortController().signal).catch(() => ended.push("second"));
      await Promise.all([first, second]);
    });
    expect(ended).toEqual(["first", "second"]);
  });

  it("are seen to be wrong when a site believes them instead of reading what it holds", async () => {
    await preseedKilled();
    site.forgedImages = new Map([[1, readFileSync(join(folder, "shipped/data.img"))]]);
    expect((await protect()).equal).toBe(false);
  });
});
