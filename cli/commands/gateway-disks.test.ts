import { execFile } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";
import { type Id, newId } from "#core/ids.ts";
import { OperationFolder, prepareDirectory } from "../../gateway/export/operation-folder.ts";
import { SourceState } from "../../gateway/state/source-state.ts";
import { StateDirectory } from "../../gateway/state/state-directory.ts";
import { SiteStage } from "../../test/kit/served-site.ts";

const run = promisify(execFile);
const main = new URL("../main.ts", import.meta.url).pathname;

let site: SiteStage;
let config = "";
beforeAll(async () => {
  site = await SiteStage.start({ volumes: [{ name: "data", sizeBytes: 65_536 }], checkpointIntervalMs: 1000 });
  config = join(site.directory, "recovery.toml");
});
afterAll(async () => {
  await site.close();
  site.remove();
});

/** The exit status and all that was printed. */
async function farshore(...args: readonly string[]): Promise<{ status: number; text: string }> {
  const env = { ...process.env, FARSHORE_TOKEN: site.tokens.recovery };
  const done = await run(process.execPath, [main, "gateway", "disks", ...args], { env }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  );
  return { status: done.code, text: done.stdout + done.stderr };
}

/** An operation's disks, and the gateway's configuration. */
async function promoted(vpgId: Id) {
  const recovery = join(site.directory, "r");
  await prepareDirectory(recovery);
  const operationId = newId(new SystemClock(), new SystemRandom());
  const folder = new OperationFolder(recovery, operationId);
  await folder.recordAttach({
    ...{ kind: "attach-volumes", operationId, vpgId, vpgName: "shop", mode: "live" },
    ...{ upTo: { session: 1, sequence: 9 }, checkpointId: "1-9" },
    volumes: [{ volume: 1, vmName: "db", name: "data", sizeBytes: 65_536, sectorBytes: 512 }],
  });
  mkdirSync(folder.volumeFolder(1));
  writeFileSync(join(folder.volumeFolder(1), "data"), Buffer.alloc(8192, 1));
  await folder.recordPromoted(8192);
  writeFileSync(config, `site = "${site.url}"\nstate = "state"\n[recovery]\ndirectory = "r"\n`);
  return { operationId, folder };
}

it("promoted disks go by name, once their site journals the VPG again and the gateway is stopped", {
  timeout: 120_000,
}, async () => {
  const { operationId, folder } = await promoted(site.vpgId);

  const listed = await farshore("list", "--config", config);
  expect(listed).toMatchObject({
    status: 0,
    text: expect.stringMatching(/shop +promoted +db\/data +64\.0 KiB +8\.00 KiB/),
  });

  const remove = () => farshore("remove", operationId, "--config", config, "--yes");
  const running = await StateDirectory.open(join(site.directory, "state"));
  expect(await remove()).toMatchObject({ text: expect.stringContaining("DirectoryInUse") });
  await running.close();
  const asked = await farshore("remove", operationId, "--config", config);
  expect(asked).toMatchObject({ text: expect.stringContaining("add --yes") });
  expect(existsSync(folder.path)).toBe(true);
  expect(await remove()).toMatchObject({ status: 0, text: expect.stringContaining("are removed") });
  expect(existsSync(folder.path)).toBe(false);
  expect(await remove()).toMatchObject({ text: expect.stringContaining("NotFound") });
});

it("promoted disks stay when their site knows no such VPG, nor that one was deleted", {
  timeout: 120_000,
}, async () => {
  const { operationId, folder } = await promoted(newId(new SystemClock(), new SystemRandom()));
  const asked = await farshore("remove", operationId, "--config", config, "--yes");
  expect(asked.status).not.toBe(0);
  expect(asked.text).toMatch(/NotFound.*knows no VPG.*farshore site rebuild/s);
  expect(existsSync(folder.path)).toBe(true);
});

it("disks that a VPG runs on become those of the configuration, while the gateway is stopped", {
  timeout: 120_000,
}, async () => {
  const { vpgId } = site;
  const { operationId, folder } = await promoted(vpgId);
  const adopt = () => farshore("adopt", operationId, "--config", config);
  expect(await adopt()).toMatchObject({ text: expect.stringContaining("has no [source] section") });
  const volume = `[[source.volume]]\nvm = "db"\nname = "data"\npath = "data.img"\n`;
  appendFileSync(config, `[source]\nvpg = "shop"\nsocket = "shop.sock"\n${volume}`);
  expect(await adopt()).toMatchObject({ text: expect.stringContaining("farshore reverse-protection start") });
  await folder.recordCaptured(1);
  const running = await StateDirectory.open(join(site.directory, "state"));
  expect(await adopt()).toMatchObject({ text: expect.stringContaining("DirectoryInUse") });
  await (await SourceState.load(running, "shop")).save({ vpgId, promotedBy: operationId });
  await running.close();
  const before = readFileSync(join(folder.volumeFolder(1), "data"));
  const adopted = await adopt();
  expect(adopted).toMatchObject({ status: 0, text: expect.stringContaining(join(site.directory, "data.img")) });
  expect(readFileSync(join(site.directory, "data.img"))).toEqual(before);
  expect(existsSync(folder.path)).toBe(false);
});

it("promoted disks go when their VPG was deleted at their site", { timeout: 120_000 }, async () => {
  const { operationId, folder } = await promoted(site.vpgId);
  expect((await site.call("/v1/vpgs/shop", { method: "DELETE", token: site.tokens.operator })).status).toBe(200);
  expect(await farshore("remove", operationId, "--config", config, "--yes")).toMatchObject({ status: 0 });
  expect(existsSync(folder.path)).toBe(false);
});
