/**
 * Disks that a VPG runs on after a move are made those of the gateway's configuration, grow there, and go through another cycle with
 * real programs: moved with their comparison, then the old disks of a reverse protection. What each volume must hold is known from the
 * guests' own logs alone.
 */
import { mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { type OperationView, operationViewSchema } from "#core/api/site-api.ts";
import { formatNbdUri } from "../../gateway/nbd/uri.ts";
import { exportsOf } from "../../scripts/demo/back-home.ts";
import { farshore } from "../../scripts/demo/processes.ts";
import { show, until, vm, vpg, vpgFile } from "../../scripts/demo/stage.ts";
import { guestsOn, type NbdGuest } from "../kit/nbd-guest.ts";
import { readDisks } from "../kit/read-disks.ts";
import { cleanUpStages, type WholeStage, wholeStage } from "../kit/whole-stage.ts";

const MiB = 2 ** 20;
const volumes = [
  { name: "data", bytes: 6 * MiB },
  { name: "log", bytes: 2 * MiB + 4096 },
];
const grown = { name: "log", bytes: 5 * MiB };
const checkpointInterval = "1s";
const atOnce = ["--commit-policy", "commit", "--commit-after", "0", "--wait"];

cleanUpStages();

const operated = async (env: Readonly<Record<string, string>>, ...args: string[]): Promise<OperationView> => {
  const operation = operationViewSchema.parse(await farshore(args, env));
  expect(operation.phase, JSON.stringify(operation.error)).toBe("Completed");
  return operation;
};
const pathOf = (stage: WholeStage, name: string): string => `${stage.directory}/own/${name}.img`;
const newest = async (env: Readonly<Record<string, string>>, session: string): Promise<void> => {
  await until(`a checkpoint of session ${session}`, 60_000, async () =>
    (await show(env)).newestCheckpoint?.id.startsWith(session) === true ? true : undefined,
  );
};
const written = async (guests: readonly NbdGuest[]): Promise<void> => {
  const before = guests.map(({ writes }) => writes);
  await until("writes", 30_000, () =>
    Promise.resolve(guests.every(({ writes }, index) => writes > (before[index] ?? 0) + 20) || undefined),
  );
};

it("recovered disks become the configuration's, grow, move home, and are the next cycle's old disks", async () => {
  const stage = await wholeStage({ volumes, checkpointInterval, bothWays: true });
  const empty = volumes.map(({ bytes }) => Buffer.alloc(bytes));
  const production = await guestsOn(stage.sourceUris, empty, 100);
  for (const guest of production) guest.start();
  await written(production);
  const move = await operated(stage.env, "move", "start", vpg, ...atOnce);
  for (const guest of production) await guest.stop().catch(() => undefined);
  const recovered = await readDisks(move, volumes);
  const there = await guestsOn(exportsOf(move), recovered, 200);
  for (const guest of there) guest.start();
  await operated(stage.env, "reverse-protection", "start", vpg, "--wait");
  await written(there);
  for (const guest of there) await guest.stop();

  await stage.processes.stop("gateway-berlin", "SIGTERM");
  const configuration = `${stage.directory}/berlin-gw.toml`;
  const text = readFileSync(configuration, "utf8");
  mkdirSync(`${stage.directory}/own`);
  const lines = volumes.map(
    ({ name }) => `[[source.volume]]\nvm = "${vm}"\nname = "${name}"\npath = "${pathOf(stage, name)}"\n`,
  );
  const socketPath = `${stage.directory}/own.sock`;
  const own = `[source]\nvpg = "${vpg}"\nsocket = "${socketPath}"\n`;
  writeFileSync(configuration, `${text.replace("[source]\n", own)}${lines.join("")}`);
  await farshore(["gateway", "disks", "adopt", move.operationId, "--config", configuration], {
    ...stage.env,
    FARSHORE_TOKEN: stage.tokens.recovery,
  });
  for (const [index, { name }] of volumes.entries()) {
    expect(there[index]?.isImage(readFileSync(pathOf(stage, name))), `${name} after the guests' last write`).toBe(true);
  }
  const { newestCheckpoint } = await show(stage.homeEnv);
  const before = Number(newestCheckpoint?.id.split("-")[0]);
  stage.restart.recovery();
  await newest(stage.homeEnv, `${before + 1}-`);

  const edited = `${stage.directory}/grown.toml`;
  const sizes = volumes.map((each) => (each.name === grown.name ? grown : each));
  const turned = (name: string): string => (name === "paris" ? "berlin" : "paris");
  writeFileSync(edited, vpgFile({ volumes: sizes, checkpointInterval }).replaceAll(/paris|berlin/g, turned));
  truncateSync(pathOf(stage, grown.name), grown.bytes);
  await farshore(["vpg", "edit", vpg, edited, "--yes"], stage.homeEnv);
  await newest(stage.homeEnv, `${before + 2}-`);
  const uris = volumes.map(({ name }) => formatNbdUri({ socketPath }, `${vpg}/${vm}/${name}`));
  const images = volumes.map(({ name }) => readFileSync(pathOf(stage, name)));
  const guests = await guestsOn(uris, images, 300);
  for (const guest of guests) guest.start();
  await written(guests);

  const home = await operated(stage.homeEnv, "move", "start", vpg, "--verify", ...atOnce);
  for (const guest of guests) await guest.stop().catch(() => undefined);
  const back = await readDisks(home, sizes);
  for (const [index, { name }] of sizes.entries()) {
    expect(guests[index]?.isImage(back[index] ?? Buffer.alloc(0)), `${name} at home`).toBe(true);
  }
  const reverse = await operated(stage.homeEnv, "reverse-protection", "start", vpg, "--wait");
  expect(reverse.reverseFigures?.seed?.hashedBytes).toBeGreaterThanOrEqual(6 * MiB + grown.bytes);
  await until(
    "a checkpoint of what runs at home",
    60_000,
    async () => (await show(stage.env)).checkpoints > 1 || undefined,
  );
});
