import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { z } from "zod";
import { checkpointSchema, operationViewSchema } from "#core/api/site-api.ts";
import { NbdClient } from "../../gateway/nbd/client.ts";
import { parseNbdUri } from "../../gateway/nbd/uri.ts";
import { servedVm, servedVmElsewhere, servedVpg } from "../kit/served-site.ts";
import { cleanUpGateways, TwoGateways } from "../kit/two-gateways.ts";

const volumeBytes = 2 * 2 ** 20;
cleanUpGateways();

async function write(uri: string, offset: number, bytes: Buffer): Promise<void> {
  const { address, exportName } = parseNbdUri(uri);
  const client = await NbdClient.connect(address, exportName);
  await client.write(offset, bytes);
  await client.disconnect();
}

async function contents(uri: string): Promise<Buffer> {
  const { address, exportName } = parseNbdUri(uri);
  const client = await NbdClient.connect(address, exportName);
  const bytes = Buffer.alloc(volumeBytes);
  await client.readInto(0, bytes);
  await client.disconnect();
  return bytes;
}

it("a VPG on two gateways: tag, views, clean restarts, test, graceful failover without loss, verification", async () => {
  const stage = await TwoGateways.start(volumeBytes);
  for (const name of ["paris", "lyon"] as const) stage.run(name);
  stage.runRecovery();
  await stage.checkpoints(1, 0);
  const writeBoth = async (): Promise<void> => {
    for (const name of ["paris", "lyon"] as const) await write(stage.uri(name), 4096, randomBytes(300 * 1024));
  };

  await writeBoth();
  const tagged = stage.diskImages();
  const created = await stage.farshore("checkpoint", "create", servedVpg, "--tag", "before");
  const { id } = checkpointSchema.parse(created);
  await writeBoth();
  const volumes = [`${servedVm}/data`, `${servedVmElsewhere}/data`];
  for (const [index, volume] of volumes.entries()) {
    for (const where of [[], ["--offline", stage.site.dataDir]]) {
      const output = join(stage.site.directory, `image-${index}-${where.length}`);
      const what = ["--checkpoint", "tag:before", "--volume", volume, "--output", output];
      await stage.farshore("view", "write", servedVpg, ...what, ...where);
      expect(readFileSync(output).equals(tagged.get(index + 1) ?? Buffer.alloc(0)), `${volume} ${where}`).toBe(true);
    }
  }

  // A clean stop of either: its next session continues, without a sync, and barriers go on.
  for (const name of ["lyon", "paris"] as const) {
    await stage.processes.stop(name, "SIGTERM");
    const since = Date.now();
    stage.run(name);
    await stage.checkpoints(1, since);
    expect(readFileSync(join(stage.site.directory, `${name}.log`), "utf8")).toContain('"sync":"none"');
  }

  const operation = async (...args: string[]) => operationViewSchema.parse(await stage.farshore("failover", ...args));
  const test = await operation("test", "start", servedVpg, "--checkpoint", id);
  for (const volume of [1, 2]) {
    const recovered = await contents(test.exports[String(volume)] ?? "");
    expect(recovered.equals(tagged.get(volume) ?? Buffer.alloc(0)), `volume ${volume} in the test`).toBe(true);
  }
  await stage.farshore("failover", "test", "stop", servedVpg, test.operationId, "--success", "yes");

  await writeBoth();
  const last = stage.diskImages();
  const live = await operation("live", servedVpg, "--shutdown", "graceful", "--grace", "10s", "--wait");
  for (const volume of [1, 2]) {
    const recovered = await contents(live.exports[String(volume)] ?? "");
    expect(recovered.equals(last.get(volume) ?? Buffer.alloc(0)), `volume ${volume} at the failover`).toBe(true);
  }
  await stage.farshore("failover", "commit", servedVpg);
  const committed = operationViewSchema.parse(await stage.farshore("operation", "show", live.operationId));
  expect(committed).toMatchObject({ phase: "Completed", lostTail: { certainty: "exact", writes: 0 } });

  const reports = z.array(z.object({ problems: z.array(z.unknown()), checkpoints: z.int() }));
  const [verified] = reports.parse(await stage.farshore("journal", "verify", stage.site.dataDir));
  // Until the commit the source went on, so checkpoints without a write of theirs stand in the lost tail.
  const tail = z
    .array(z.unknown())
    .parse(await stage.farshore("checkpoint", "list", servedVpg, "--lost-tail", live.operationId));
  const checkpoints = (await stage.listed()).length + tail.length;
  expect(verified).toMatchObject({ problems: [], checkpoints });
});
