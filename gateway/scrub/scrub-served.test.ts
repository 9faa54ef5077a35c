import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { alertSchema } from "#core/api/trigger-api.ts";
import { type ScrubReport, scrubReportSchema } from "#core/scrub/view.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { SiteStage, servedVm, servedVpg } from "../../test/kit/served-site.ts";
import { parseGatewayConfig } from "../config.ts";
import { type RunningGateway, runGateway } from "../main.ts";

const MiB = 2 ** 20;
const place = 3 * MiB + 77;

let stage: SiteStage;
let gateway: RunningGateway;

beforeAll(async () => {
  stage = await SiteStage.start({ volumes: [{ name: "data", sizeBytes: 8 * MiB }], checkpointIntervalMs: 1000 });
  const disk = Buffer.alloc(8 * MiB);
  for (let at = 0; at < disk.length; at += MiB) disk.fill(at / MiB + 1, at, at + 4096);
  writeFileSync(join(stage.directory, "data.img"), disk);
  const text = `site = "${stage.url}"
token_file = "token"
state = "state"
[source]
vpg = "${servedVpg}"
socket = "shop.sock"
scrub_rate = "0"
[[source.volume]]
vm = "${servedVm}"
name = "data"
path = "data.img"
`;
  const config = parseGatewayConfig(text, { path: join(stage.directory, "gateway.toml"), token: stage.tokens.source });
  gateway = await runGateway({ config, log: new QuietLog() });
  await gateway.ready;
  await until(async () => (await stage.vpg()).checkpoints > 0);
}, 90_000);
afterAll(async () => {
  await gateway.close();
  await stage.close();
  stage.remove();
});

async function until(met: () => Promise<boolean>): Promise<void> {
  const signal = AbortSignal.timeout(60_000);
  while (!(await met())) {
    signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const scrub = async (method: "GET" | "POST"): Promise<ScrubReport> => {
  const answer = await stage.call(`/v1/vpgs/${servedVpg}/scrub`, { method, token: stage.tokens.operator });
  return scrubReportSchema.parse(answer.json());
};
const alerts = async (): Promise<readonly string[]> => {
  const answer = await stage.call("/v1/status", { token: stage.tokens.viewer });
  const reply = z.object({ alerts: z.array(alertSchema) }).parse(answer.json());
  return reply.alerts.map(({ alertId }) => alertId);
};

it("a byte that changed past the gateway is found by the site's own reading of its journal, told, and sent again", {
  timeout: 120_000,
}, async () => {
  const file = openSync(join(stage.directory, "data.img"), "r+");
  writeSync(file, Buffer.of(99), 0, 1, place);
  closeSync(file);
  await scrub("POST");
  await until(async () => (await stage.vpg()).scrub?.disks[0]?.mended === 1);
  const [found] = (await scrub("GET")).disks[0]?.list ?? [];
  expect(found).toMatchObject({ vmName: servedVm, volumeName: "data", offset: 3 * MiB, length: 4096, mended: true });
  expect(await alerts()).toContain(`disk-differs:${servedVpg}`);
  await until(async () => (await stage.vpg()).mode === "replicating");
  await scrub("POST");
  await until(async () => (await stage.vpg()).scrub?.disks[0]?.differing === 0);
  await until(async () => (await stage.vpg()).scrub?.disks[0]?.running === false);
  expect((await stage.vpg()).scrub?.disks).toMatchObject([
    { gateway: "paris-gw", coveragePercent: 100, skippedChunks: 0, totalChunks: 16, bytesPerSecond: 0 },
  ]);
  expect(await alerts()).not.toContain(`disk-differs:${servedVpg}`);
});
