/**
 * A gateway that is killed with SIGKILL again and again while it begins to capture promoted disks under a guest that writes.
 * SEED=n repeats one run: SEED=2 npx vitest run --project unit gateway/source/reverse-capture.kill.test.ts
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FileObjects } from "#adapters/embedded/objects.ts";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { idSchema } from "#core/ids.ts";
import type { CommandBody } from "#core/protection/command.ts";
import { operationId } from "../../test/kit/batches.ts";
import { GatewaySite, shopOf } from "../../test/kit/gateway-site.ts";
import { randomJournal } from "../../test/kit/random-journal.ts";
import { commandsOf } from "../../test/kit/recovery.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { StampGuest } from "../../test/kit/stamp-guest.ts";
import { formatNbdUri } from "../nbd/uri.ts";

const seed = Number(process.env["SEED"] ?? 1);
const sizes = new Map([
  [1, 6 * chunkBytes],
  [2, chunkBytes],
]);
const kills = 5;

let folder = "";
let site: GatewaySite;
let child: ChildProcess | undefined;
let commands: readonly CommandBody[] = [];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "fs-rck-"));
  await mkdir(path.join(folder, "state"));
  const objects = await FileObjects.open(path.join(folder, "bucket"));
  const journal = await randomJournal(new SeededRandom(seed), sizes, { objects });
  const { attach, promote } = commandsOf(journal.upTo, sizes);
  const named = attach.volumes.map(({ name, sizeBytes }) => [name, sizeBytes] as const);
  site = await GatewaySite.start(shopOf(Object.fromEntries(named)));
  const { vpgId } = site;
  const base = { operationId: idSchema.parse("01hzzzzzzzzzzzzzzzzzzzzzz9"), vpgId, vpgName: "shop", term: 1 };
  const protect = {
    kind: "protect-volumes",
    ...base,
    promotedBy: attach.operationId,
    volumes: attach.volumes,
  } as const;
  commands = [{ ...attach, vpgId }, { ...promote, vpgId }, protect];
});

afterEach(async () => {
  if (child?.exitCode === null && child.signalCode === null) {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  await site.close();
  await rm(folder, { recursive: true, force: true });
});

/** Starts the gateway; resolves when all commands are done, or with what was when it killed itself. */
async function run(changes?: number): Promise<readonly string[]> {
  const script = path.join(import.meta.dirname, "../../test/kit/reverse-child.ts");
  const args = [
    script,
    folder,
    site.url,
    JSON.stringify(commands),
    ...(changes === undefined ? [] : [String(changes)]),
  ];
  const started = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  child = started;
  const done: string[] = [];
  const all = new Promise<void>((resolve) => {
    createInterface({ input: started.stdout }).on("line", (line) => {
      done.push(JSON.parse(line).kind);
      if (done.length > commands.length) resolve();
    });
  });
  await Promise.race([all, once(started, "close")]);
  return done;
}

/** The sync of the session that batches come from has ended: a checkpoint of it is listed. */
async function synced(): Promise<void> {
  const sent = (): number =>
    Number(
      site.requests
        .findLast((request) => request.startsWith("PUT"))
        ?.split("/")
        .at(-2),
    );
  const listed = async (): Promise<number | undefined> => (await site.checkpoints())[0]?.position.session;
  while ((await listed()) !== sent()) await new Promise((resolve) => setTimeout(resolve, 50));
}

async function end(signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "close");
  child.kill(signal);
  await gone;
}

describe("a gateway that is killed while it begins to capture promoted disks", { timeout: 120_000 }, () => {
  it(`ends with a journal that equals the disks, and no durable write lost, seed ${seed}`, async () => {
    const random = new SeededRandom(seed);
    const socketPath = path.join(folder, "r", "s", `${operationId.slice(-10)}.sock`);
    const guest = new StampGuest(formatNbdUri({ socketPath }, "shop/db/data"), seed);
    guest.start();
    for (let kill = 0; kill < kills; kill += 1) {
      // Early ones hit the attach and the promotion, later ones the capture.
      await run(kill * 12 + random.below(12));
      await end("SIGKILL");
    }
    expect((await run()).at(-1)).toBe("protect-volumes");
    await guest.stop();
    await synced();
    await end("SIGTERM");
    expect(guest.written).toBeGreaterThan(0);
    expect(existsSync(path.join(folder, "r", "operations", operationId, "captured.json"))).toBe(true);
    const disks = new Map(
      [1, 2].map((n) => [n, readFileSync(path.join(folder, "r", "operations", operationId, `${n}`, "data"))]),
    );
    for (const [volume, disk] of disks) expect((await site.image(volume)).equals(disk), `volume ${volume}`).toBe(true);
    expect(guest.wrongBlocks(disks.get(1) ?? Buffer.alloc(0))).toEqual([]);
  });
});
