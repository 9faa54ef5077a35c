import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createVpgSchema } from "#core/api/site-api.ts";
import { GatewaySite } from "../../test/kit/gateway-site.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import type { GatewayConfig } from "../config.ts";
import { parseGatewayConfig } from "../config.ts";
import { type RunningGateway, runGateway } from "../main.ts";
import { NbdClient } from "../nbd/client.ts";

const MiB = 2 ** 20;
const sizes = { data: 24 * MiB, log: 8 * MiB } as const;
const definition = createVpgSchema.parse({
  name: "shop",
  protectedSite: "berlin",
  sourceGateway: "gw-berlin",
  recoveryGateway: null,
  compute: "none",
  checkpointIntervalMs: 1000,
  vms: [
    {
      name: "db",
      volumes: [
        { name: "data", sizeBytes: sizes.data },
        { name: "log", sizeBytes: sizes.log },
      ],
    },
  ],
});

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

  const config = (extra = ""): GatewayConfig =>
    parseGatewayConfig(
      `site = "${site.url}"
state = "state"
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
`,
      { path: join(folder, "gateway.toml"), token: "token" },
    );
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
    for (let tries = 0; tries < 500; tries += 1) {
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
});
