/**
 * A VPG that was edited while its gateway ran, with one volume more, one less and one grown, goes there and back with real programs:
 * moved with its comparison, reversed by the old disks, moved home. Its source gateway is the same process throughout. What each volume
 * must hold is known from the guests' own logs alone.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { type OperationView, operationViewSchema } from "#core/api/site-api.ts";
import { formatNbdUri } from "../../gateway/nbd/uri.ts";
import { exportsOf } from "../../scripts/demo/back-home.ts";
import { farshore } from "../../scripts/demo/processes.ts";
import { show, until, vm, vpg, vpgFile } from "../../scripts/demo/stage.ts";
import { guestsOn, type NbdGuest } from "../kit/nbd-guest.ts";
import { readDisks } from "../kit/read-disks.ts";
import { SeededRandom } from "../kit/seeded-random.ts";
import { cleanUpStages, wholeStage } from "../kit/whole-stage.ts";

const MiB = 2 ** 20;
/** The one that goes is the first, so that no other keeps its place. */
const before = { gone: 2 * MiB, kept: 4 * MiB, grown: 3 * MiB };
const after = { kept: 4 * MiB, grown: 5 * MiB + 4096, fresh: 2 * MiB };
const checkpointInterval = "1s";

let folder = "";
cleanUpStages();
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const volumesOf = (sizes: Readonly<Record<string, number>>) =>
  Object.entries(sizes).map(([name, bytes]) => ({ name, bytes, disk: join(folder, `${name}.img`) }));

it("goes there and back after an edit, byte for byte", async () => {
  folder = mkdtempSync(join(tmpdir(), "fs-edited-"));
  const random = new SeededRandom(Number(process.env["SEED"] ?? 1));
  for (const { disk, bytes } of volumesOf(before)) writeFileSync(disk, random.bytes(bytes));
  const stage = await wholeStage({ volumes: volumesOf(before), checkpointInterval, bothWays: true });
  const uriOf = (name: string) => formatNbdUri({ socketPath: `${stage.directory}/paris.sock` }, `${vpg}/${vm}/${name}`);
  const guestOn = async (name: string, seed: number): Promise<NbdGuest> => {
    const [guest] = await guestsOn([uriOf(name)], [readFileSync(join(folder, `${name}.img`))], seed);
    if (guest === undefined) throw new Error("no guest");
    guest.start();
    return guest;
  };
  const kept = await guestOn("kept", 100);

  const volumes = volumesOf(after);
  const grownBytes = after.grown - before.grown;
  writeFileSync(join(folder, "grown.img"), random.bytes(grownBytes), { flag: "a" });
  writeFileSync(join(folder, "fresh.img"), random.bytes(after.fresh));
  const lineOf = (name: string) =>
    `[[source.volume]]\nvm = "${vm}"\nname = "${name}"\npath = "${folder}/${name}.img"\n`;
  const configuration = `${stage.directory}/paris-gw.toml`;
  const text = readFileSync(configuration, "utf8");
  writeFileSync(
    configuration,
    text.replace(lineOf("gone"), "").replace(lineOf("grown"), lineOf("grown") + lineOf("fresh")),
  );
  const file = `${stage.directory}/edited.toml`;
  writeFileSync(file, vpgFile({ volumes, checkpointInterval }));
  await farshore(["vpg", "edit", vpg, file, "--yes"], stage.env);
  await until("a checkpoint of the edited volumes", 60_000, async () =>
    (await show(stage.env)).newestCheckpoint?.id.startsWith("2-") === true ? true : undefined,
  );
  const production = [kept, await guestOn("grown", 101), await guestOn("fresh", 102)];
  await until("writes", 30_000, () => Promise.resolve(production.every(({ writes }) => writes > 20) || undefined));

  const atOnce = ["--commit-policy", "commit", "--commit-after", "0", "--wait"];
  const move = await stage.operate("move", "start", vpg, "--verify", ...atOnce);
  expect(move.phase, JSON.stringify(move.error)).toBe("Completed");
  for (const guest of production) await guest.stop().catch(() => undefined);
  const recovered = await readDisks(move, volumes);
  for (const [index, { name }] of volumes.entries()) {
    expect(production[index]?.isImage(recovered[index] ?? Buffer.alloc(0)), `${name} as it was closed`).toBe(true);
  }

  // Behind everybody's back: of the old disks nothing is believed.
  for (const { disk, bytes } of volumes) {
    const old = openSync(disk, "r+");
    writeSync(old, random.bytes(3000), 0, 3000, bytes - 70_000);
    closeSync(old);
  }
  const guests = await guestsOn(exportsOf(move), recovered, 200);
  for (const guest of guests) await guest.work(20);
  const reverse = await stage.operate("reverse-protection", "start", vpg, "--wait");
  expect(reverse.phase, JSON.stringify(reverse.error)).toBe("Completed");
  expect(reverse.reverseFigures?.seed?.hashedBytes).toBeGreaterThanOrEqual(after.kept + after.grown + after.fresh);
  for (const guest of guests) guest.start();
  await until("the journal at home", 60_000, async () => (await show(stage.homeEnv)).checkpoints > 2 || undefined);

  const start = ["move", "start", vpg, "--verify", ...atOnce];
  const back: OperationView = operationViewSchema.parse(await farshore(start, stage.homeEnv));
  expect(back.phase, JSON.stringify(back.error)).toBe("Completed");
  for (const guest of guests) await guest.stop().catch(() => undefined);
  for (const [index, home] of (await readDisks(back, volumes)).entries()) {
    expect(guests[index]?.isImage(home), `${volumes[index]?.name} at home`).toBe(true);
  }
});
