import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RecoverySiteRegressed, RunGrantRefused } from "#core/errors.ts";
import type { CommandBody } from "#core/protection/command.ts";
import { type CommandRecord, getCommand, issueCommand } from "#core/protection/commands.ts";
import { openSession } from "#core/protection/open-session.ts";
import { pauseVpg, resumeVpg } from "#core/protection/vpg-store.ts";
import { GatewaySite, shopOf } from "../../test/kit/gateway-site.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { openAsk, operator } from "../../test/kit/site.ts";
import type { GatewayConfig } from "../config.ts";
import { parseGatewayConfig } from "../config.ts";
import { rateLookMs } from "../limits.ts";
import { type RunningGateway, runGateway } from "../main.ts";
import { NbdClient } from "../nbd/client.ts";

const MiB = 2 ** 20;
const sizes = { data: 24 * MiB, log: 8 * MiB } as const;
const definition = shopOf(sizes);

describe("source half against a site", () => {
  let folder = "";
  let site: GatewaySite;
  let gateway: RunningGateway | undefined;
  let log: QuietLog;
  const random = new SeededRandom(42);

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "farshore-source-"));
    mkdirSync(join(folder, "run"));
    for (const [name, size] of Object.entries(sizes)) {
      const image = Buffer.alloc(size);
      for (let at = 0; at < size; at += 2 * MiB) random.bytes(64 * 1024).copy(image, at);
      writeFileSync(join(folder, `${name}.img`), image);
    }
    site = await GatewaySite.start(definition);
    log = new QuietLog();
  });
  afterEach(async () => {
    await gateway?.close();
    gateway = undefined;
    await site.close();
    rmSync(folder, { recursive: true });
  });

  const configText = (extra = ""): string => `site = "${site.url}"
token_file = "token"
state = "state"
[hooks.db]
boot = ["sh", "-c", "echo boot >> hooks.txt; touch running"]
shutdown = ["sh", "-c", "echo shutdown >> hooks.txt; rm running"]
status = ["sh", "-c", "test -e running || exit 3"]
[source]
vpg = "shop"
socket = "run/shop.sock"
drain = "10s"
${extra}
[[source.volume]]
vm = "db"
name = "data"
path = "data.img"
[[source.volume]]
vm = "db"
name = "log"
path = "log.img"
`;
  const configPath = (): string => join(folder, "gateway.toml");
  const config = (extra = ""): GatewayConfig =>
    parseGatewayConfig(configText(extra), { path: configPath(), token: "token" });
  const start = async (extra = ""): Promise<RunningGateway> => {
    gateway = await runGateway({ config: config(extra), log });
    return gateway;
  };
  const connect = (name: "data" | "log"): Promise<NbdClient> =>
    NbdClient.connect({ socketPath: join(folder, "run/shop.sock") }, `shop/db/${name}`);
  const expectEqual = async (): Promise<void> => {
    for (const [index, name] of (["data", "log"] as const).entries()) {
      const image = await site.image(index + 1);
      expect(image.equals(readFileSync(join(folder, `${name}.img`))), `${name} equals its disk`).toBe(true);
    }
  };
  const until = async (met: () => boolean | Promise<boolean>, what: string): Promise<void> => {
    for (let tries = 0; tries < 1400; tries += 1) {
      if (await met()) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`never: ${what}: ${JSON.stringify(gateway?.status())}`);
  };
  const replicating = (): Promise<void> =>
    until(() => gateway?.status().source?.stream?.mode === "replicating", "replicating");

  it("syncs, journals, makes checkpoints, closes cleanly, and continues without a sync", async () => {
    await (await start()).ready;
    await replicating();
    await until(async () => (await site.checkpoints()).length > 0, "a checkpoint");
    await expectEqual();
    const client = await connect("data");
    await client.write(MiB, random.bytes(300 * 1024));
    await client.writeZeroes(4 * MiB, 128 * 1024, {});
    await client.disconnect();
    await until(() => gateway?.status().source?.stream?.idle === true, "idle");
    await expectEqual();
    await gateway?.close();
    site.requests.length = 0;
    await (await start()).ready;
    expect(gateway?.status().source?.stream).toMatchObject({ session: 2, mode: "replicating" });
    expect(site.requests.filter((request) => request.includes("hashes"))).toEqual([]);
  });

  it("compares hashes after a kill, and ships only what differs", async () => {
    writeFileSync(configPath(), configText());
    writeFileSync(join(folder, "token"), "token");
    const child = await startProcess(configPath());
    await until(async () => (await site.checkpoints()).length > 0, "a checkpoint");
    const client = await connect("data");
    await client.write(5 * MiB, random.bytes(200 * 1024));
    child.kill("SIGKILL");
    await client.disconnect().catch(() => undefined);
    await new Promise((resolve) => child.once("exit", resolve));
    site.requests.length = 0;
    await (await start()).ready;
    await replicating();
    await until(() => gateway?.status().source?.stream?.idle === true, "idle");
    await expectEqual();
    expect(site.requests.some((request) => request.includes("hashes"))).toBe(true);
    expect(gateway?.status().source?.stream?.shippedBytes).toBeLessThan(2 * MiB);
    expect(gateway?.status().source?.stream?.session).toBe(2);
  });

  it("compares hashes when a disk was touched after the clean end", async () => {
    await (await start()).ready;
    await replicating();
    await gateway?.close();
    const image = readFileSync(join(folder, "log.img"));
    image.fill(1, 3 * MiB, 3 * MiB + 4096);
    writeFileSync(join(folder, "log.img"), image);
    await (await start()).ready;
    expect(gateway?.status().source?.stream?.mode).toBe("delta-sync");
    await replicating();
    await until(() => gateway?.status().source?.stream?.idle === true, "idle");
    await expectEqual();
  });

  it("exports nothing until the site grants it, whatever the reason", async () => {
    let refusal: Error | undefined = new RunGrantRefused("an operation runs");
    site.faults.refuse = (request) => {
      if (request.includes("/sessions") && refusal !== undefined) throw refusal;
    };
    await start();
    await until(() => gateway?.status().source?.problem?.name === "RunGrantRefused", "the refusal");
    await expect(connect("data")).rejects.toThrow("export");
    refusal = undefined;
    await gateway?.close();
    await site.close();
    await start();
    await until(() => gateway?.status().source?.problem?.name === "Transient", "no answer");
    await expect(connect("data")).rejects.toThrow("export");
    expect(gateway?.status().siteReachable).toBe(false);
    await site.listen();
    await gateway?.ready;
    await replicating();
  });

  it.each(["always", "after 300ms"])(
    "serves without a grant %s if told so, and syncs when the site is back",
    async (grant) => {
      await site.close();
      const before = performance.now();
      await (await start(`start_without_grant = "${grant}"`)).ready;
      if (grant !== "always") expect(performance.now() - before).toBeGreaterThanOrEqual(300);
      const client = await connect("data");
      await client.write(2 * MiB, random.bytes(100_352));
      expect(gateway?.status().source?.stream).toBeNull();
      await site.listen();
      await replicating();
      await client.write(9 * MiB, random.bytes(4096));
      await client.disconnect();
      await until(() => gateway?.status().source?.stream?.idle === true, "idle");
      await expectEqual();
    },
  );

  it("accepts that the site has regressed, says so, and compares everything", async () => {
    await (await start()).ready;
    await replicating();
    await gateway?.close();
    let asked = 0;
    site.faults.refuse = (request) => {
      if (request.includes("/sessions") && ++asked === 1) throw new RecoverySiteRegressed("batches are gone");
    };
    await (await start()).ready;
    expect(asked).toBe(2);
    expect(log.entries.some((entry) => entry.event === "source.site-regressed")).toBe(true);
    expect(gateway?.status().source?.stream?.mode).toBe("delta-sync");
    await replicating();
    await until(() => gateway?.status().source?.stream?.idle === true, "idle");
    await expectEqual();
  });

  it.each([
    { policy: "read-only", exports: "read-only" },
    { policy: "stop", exports: "absent" },
    { policy: "continue", exports: "read-write" },
  ])("becomes $exports when fenced with on_fenced = $policy", async ({ policy, exports }) => {
    await (await start(`on_fenced = "${policy}"`)).ready;
    await replicating();
    // A clone of this gateway opens a session.
    const volumes = Object.entries(sizes).map(([name, sizeBytes]) => ({
      vmName: "db",
      name,
      sizeBytes,
      sectorBytes: 512,
    }));
    const before = site.faults.refuse;
    await openSession(site.site, site.protectedVpg.source, openAsk(site.site, site.vpgId, { lastSession: 1, volumes }));
    site.faults.refuse = before;
    const client = await connect("data");
    await client.write(0, random.bytes(4096)).catch(() => undefined);
    await until(() => gateway?.status().source?.stream?.mode === "fenced", "fenced");
    await until(() => gateway?.status().source?.exports === exports, exports);
    await client.disconnect().catch(() => undefined);
    if (exports !== "absent") {
      const again = await connect("data");
      expect(again.readOnly).toBe(exports === "read-only");
      await again.disconnect();
    }
    expect(log.entries.some((entry) => entry.event === "source.fenced" && entry.level === "error")).toBe(true);
  });

  it("pauses and resumes by order of the site", async () => {
    await (await start()).ready;
    await replicating();
    await pauseVpg(site.site, operator, site.vpgId);
    await until(() => gateway?.status().source?.stream?.mode === "paused", "paused");
    const client = await connect("log");
    await client.write(MiB, random.bytes(70_144));
    await client.disconnect();
    await resumeVpg(site.site, operator, site.vpgId);
    await replicating();
    await until(() => gateway?.status().source?.stream?.idle === true, "idle");
    await expectEqual();
  });

  it("keeps to the buffer's bound while the site hangs, and then syncs", async () => {
    await (await start('buffer = "96MiB"')).ready;
    await replicating();
    site.faults.hangs = true;
    const client = await connect("data");
    // What does not compress, and more than the bound.
    for (let wrote = 0; wrote < 30; wrote += 1) await client.write((wrote % 6) * 4 * MiB, randomBytes(4 * MiB));
    await client.disconnect();
    const backlog = gateway?.status().source?.stream?.backlogBytes ?? 0;
    expect(backlog).toBeLessThanOrEqual(96 * MiB);
    expect(gateway?.status().source?.stream?.mode).toBe("dirty");
    site.answerAgain();
    await replicating();
    await until(() => gateway?.status().source?.stream?.idle === true, "idle");
    await expectEqual();
  });

  describe("commands", () => {
    const operationId = "01k3zper4t0000000000000001";
    const ask = async (commandId: string, body: Record<string, unknown>): Promise<CommandRecord> => {
      const { gatewayId } = site.protectedVpg.source;
      if (gatewayId === null) throw new Error("no gateway");
      await issueCommand(site.site, gatewayId, { commandId, body: { vpgId: site.vpgId, ...body } as CommandBody });
      await until(async () => ["done", "failed"].includes((await getCommand(site.site, commandId)).state), commandId);
      return await getCommand(site.site, commandId);
    };

    it("throttles what is shipped, not guests, until it is told otherwise, also in its next life", async () => {
      await (await start()).ready;
      await replicating();
      const rate = 400_000;
      const { gatewayId } = site.protectedVpg.source;
      if (gatewayId === null) throw new Error("no gateway");
      const throttle = (commandId: string, bytesPerSecond: number | null): Promise<unknown> =>
        issueCommand(site.site, gatewayId, { commandId, body: { kind: "set-throttle", bytesPerSecond } });
      await throttle("one.throttle", rate);
      const throttled = (): boolean => gateway?.status().source?.stream?.throttleBytesPerSecond === rate;
      await until(throttled, "throttled");
      await new Promise((resolve) => setTimeout(resolve, 2 * rateLookMs));
      const client = await connect("data");
      const shipped = (): number => gateway?.status().source?.stream?.shippedBytes ?? 0;
      const [before, begun] = [shipped(), performance.now()];
      let writingMs = 0;
      for (let at = 0; at < 4; at += 1) {
        const writeAt = performance.now();
        await client.write(at * MiB, random.bytes(300 * 1024));
        writingMs += performance.now() - writeAt;
        await new Promise((resolve) => setTimeout(resolve, 2 * site.pace.checkpointMs));
      }
      expect(writingMs).toBeLessThan(1000);
      await until(() => gateway?.status().source?.stream?.idle === true, "idle");
      const bytes = shipped() - before;
      expect(bytes).toBeGreaterThan(1_000_000);
      // The first batch is free; each later one waits for those before it.
      expect(performance.now() - begun).toBeGreaterThan(((bytes - 700_000) * 1000) / rate);
      await client.disconnect();
      await gateway?.close();
      await (await start()).ready;
      await until(throttled, "still throttled");
      await throttle("two.throttle", null);
      await until(() => gateway?.status().source?.stream?.throttleBytesPerSecond === undefined, "free again");
    });

    it("tags a checkpoint that is listed", async () => {
      await (await start()).ready;
      await replicating();
      const { state, result } = await ask("req1.tag", { kind: "tag-checkpoint", tag: "before the upgrade" });
      expect(state).toBe("done");
      const tagged = (await site.checkpoints()).find((checkpoint) => checkpoint.tags.includes("before the upgrade"));
      expect(`${tagged?.position.session}-${tagged?.position.sequence}`).toBe(result?.["checkpointId"]);
    });

    it("shuts VMs down gracefully, with a last checkpoint, and powers on what it stopped", async () => {
      writeFileSync(join(folder, "running"), "");
      await (await start()).ready;
      await replicating();
      const body = {
        kind: "shutdown-source",
        operationId,
        vpgName: "shop",
        policy: "graceful",
        graceMs: 10_000,
        vms: ["db"],
      };
      const shutdown = await ask("op1.shutdown", body);
      expect(shutdown).toMatchObject({ state: "done", result: { stopped: ["db"], killed: [], durable: true } });
      expect(existsSync(join(folder, "running"))).toBe(false);
      const on = await ask("op1.on", { kind: "power-on-source", operationId, vpgName: "shop", vms: ["db"] });
      expect(on).toMatchObject({ state: "done", result: { poweredOn: ["db"] } });
      expect(readFileSync(join(folder, "hooks.txt"), "utf8")).toBe("shutdown\nboot\n");
    });

    it("fails a graceful shutdown that does not end in time, and cuts off a forced one", async () => {
      writeFileSync(join(folder, "running"), "");
      const stubborn = configText().replace('"echo shutdown >> hooks.txt; rm running"', '"true"');
      const parsed = parseGatewayConfig(stubborn, { path: configPath(), token: "token" });
      gateway = await runGateway({ config: parsed, log });
      await gateway.ready;
      await replicating();
      const body = { kind: "shutdown-source", operationId, vpgName: "shop", graceMs: 600, vms: ["db"] };
      const graceful = await ask("op2.shutdown", { ...body, policy: "graceful" });
      expect(graceful).toMatchObject({ state: "failed", error: { name: "SourceShutdownFailed" } });
      expect(gateway.status().source?.exports).toBe("read-write");
      const forced = await ask("op3.shutdown", { ...body, policy: "force" });
      expect(forced.state).toBe("done");
      expect(gateway.status().source?.exports).toBe("read-only");
      await gateway.close();
      // A restart does not give write access back; the power-on of the rollback does.
      gateway = await runGateway({ config: parsed, log });
      await gateway.ready;
      expect(gateway.status().source?.exports).toBe("read-only");
      await ask("op3.on", { kind: "power-on-source", operationId, vpgName: "shop", vms: ["db"] });
      expect(gateway.status().source?.exports).toBe("read-write");
    });

    it("powers on only after a shutdown that still runs, so that the rollback has the last word", async () => {
      writeFileSync(join(folder, "running"), "");
      const slow = configText().replace("echo shutdown", "sleep 1; echo shutdown");
      gateway = await runGateway({ config: parseGatewayConfig(slow, { path: configPath(), token: "token" }), log });
      await gateway.ready;
      await replicating();
      const body = { operationId, vpgName: "shop", vms: ["db"] };
      const shutdown = ask("op5.shutdown", { kind: "shutdown-source", policy: "force", graceMs: 10_000, ...body });
      await until(() => existsSync(join(folder, "state", `shutdown-${operationId}.json`)), "the shutdown is under way");
      await ask("op5.on", { kind: "power-on-source", ...body });
      await shutdown;
      expect(readFileSync(join(folder, "hooks.txt"), "utf8")).toBe("shutdown\nboot\n");
      expect(existsSync(join(folder, "running"))).toBe(true);
      expect(gateway.status().source?.exports).toBe("read-write");
    });

    it("holds nothing for a shutdown of another VPG that this gateway captured before", async () => {
      mkdirSync(join(folder, "state"));
      const record = { vpgId: "01k3zper4t0000000000000009", stopped: [], held: true };
      writeFileSync(join(folder, "state", `shutdown-${operationId}.json`), JSON.stringify(record));
      await (await start()).ready;
      expect(gateway?.status().source?.exports).toBe("read-write");
    });

    it("says which section is missing for a command of the other half", async () => {
      await (await start()).ready;
      const refused = await ask("op4.boot", { kind: "boot-vms", operationId, vpgName: "shop", mode: "test", vms: [] });
      expect(refused).toMatchObject({ state: "failed", error: { name: "CommandFailed" } });
    });
  });
});

async function startProcess(configPath: string): Promise<ChildProcess> {
  const program = fileURLToPath(new URL("../../test/kit/gateway-process.ts", import.meta.url));
  const child = spawn(process.execPath, [program, configPath], { stdio: ["ignore", "pipe", "ignore"] });
  await new Promise<void>((resolve, reject) => {
    child.stdout.on("data", (bytes: Buffer) => {
      if (bytes.toString().includes("ready")) resolve();
    });
    child.once("exit", (status) => reject(new Error(`the gateway ended with ${status}`)));
  });
  return child;
}
