/**
 * The whole cycle with real programs: two sites and two gateways as processes. Five volumes are failed over while guests write, the old
 * source's disks go their own way, protection is reversed, guests write on, and the VPG moves home. What each volume must hold is known
 * from the guests' own logs alone.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { type OperationView, operationViewSchema } from "#core/api/site-api.ts";
import { formatBytes } from "#core/units.ts";
import { NbdClient } from "../../gateway/nbd/client.ts";
import { parseNbdUri } from "../../gateway/nbd/uri.ts";
import { differingBytes, exportsOf } from "../../scripts/demo/back-home.ts";
import { farshore } from "../../scripts/demo/processes.ts";
import { show, until, vpg } from "../../scripts/demo/stage.ts";
import { guestsOn } from "../kit/nbd-guest.ts";
import { readDisks } from "../kit/read-disks.ts";
import { SeededRandom } from "../kit/seeded-random.ts";
import { cleanUpStages, type WholeStage, wholeStage } from "../kit/whole-stage.ts";

const MiB = 2 ** 20;
const volumes = [
  { name: "root", bytes: 12 * MiB + 4096 },
  { name: "data", bytes: 40 * MiB },
  { name: "log", bytes: 8 * MiB },
  { name: "swap", bytes: MiB },
  { name: "spare", bytes: 3 * MiB + 512 },
];
/** Written to the old disks behind everybody's back: [volume, offset, bytes], on no boundary of chunks. */
const diverging = [
  [0, 5 * MiB + 12_288, 700_000],
  [1, 31 * MiB + 1024, 1_500_000],
  [2, 512, 600_000],
  [4, 2 * MiB, MiB],
] as const;

let folder = "";
cleanUpStages();
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);

async function expectNoWrite(uri: string): Promise<void> {
  const { address, exportName } = parseNbdUri(uri);
  const write = async (): Promise<void> => {
    const client = await NbdClient.connect(address, exportName);
    await client.write(0, Buffer.alloc(512, 0xee)).finally(() => client.destroy());
  };
  await expect(write()).rejects.toThrow();
}

/** At the protected site. */
const atHome = async (stage: WholeStage, ...args: string[]): Promise<OperationView> =>
  operationViewSchema.parse(await farshore(args, stage.homeEnv));

describe("the cycle", () => {
  it("fails over, reverses protection by what differs, and moves home without losing a write", async () => {
    folder = mkdtempSync(join(tmpdir(), "fs-old-"));
    const random = new SeededRandom(Number(process.env["SEED"] ?? 1));
    const first = volumes.map(({ name, bytes }) => {
      const image = random.bytes(bytes);
      const disk = join(folder, `${name}.img`);
      writeFileSync(disk, image);
      return { name, bytes, disk, image };
    });
    const stage = await wholeStage({ volumes: first, checkpointInterval: "1s", bothWays: true });

    const production = await guestsOn(
      stage.sourceUris,
      first.map(({ image }) => image),
      100,
    );
    for (const guest of production) guest.start();
    const { checkpoints } = await show(stage.env);
    await until("checkpoints", 60_000, async () => (await show(stage.env)).checkpoints > checkpoints + 3 || undefined);
    await stage.processes.stop("gateway-paris", "SIGKILL");
    for (const guest of production) await guest.stop().catch(() => undefined);
    const live = await stage.operate("failover", "live", vpg, "--wait");
    const committed = await stage.operate("failover", "commit", vpg);
    expect(committed.phase).toBe("Completed");

    const uris = exportsOf(live);
    const recovered = await readDisks(live, volumes);
    for (const [index, guest] of production.entries()) {
      expect(guest.prefixOf(recovered[index] ?? Buffer.alloc(0)), `volume ${index + 1} is an instant`).toBeDefined();
    }
    for (const [volume, offset, bytes] of diverging) {
      const file = openSync(first[volume]?.disk ?? "", "r+");
      writeSync(file, random.bytes(bytes), 0, bytes, offset);
      closeSync(file);
    }
    stage.restart.source();

    const guests = await guestsOn(uris, recovered, 200);
    for (const guest of guests) await guest.work(20);
    const differing = sum(
      guests.map(({ image }, index) => differingBytes(readFileSync(first[index]?.disk ?? ""), image)),
    );
    const reverse = await stage.operate("reverse-protection", "start", vpg, "--wait");
    expect(reverse).toMatchObject({ phase: "Completed" });
    const sync = await until(
      "the sync's figures",
      20_000,
      async () => (await show(stage.homeEnv)).lastSync ?? undefined,
    );
    const shipped = sync.shippedBytes;
    console.info(`reverse protection: ${formatBytes(differing)} differed, ${formatBytes(shipped)} were shipped`);
    expect(shipped).toBeGreaterThan(0);
    expect(shipped).toBeLessThanOrEqual(1.5 * differing);
    // The same connections as before.
    for (const guest of guests) guest.start();
    await until("the journal at home", 60_000, async () =>
      (await show(stage.homeEnv)).checkpoints > 2 ? true : undefined,
    );
    await expectNoWrite(stage.sourceUris[0] ?? "");

    const move = await atHome(
      stage,
      "move",
      "start",
      vpg,
      "--commit-policy",
      "commit",
      "--commit-after",
      "0",
      "--wait",
    );
    expect(move.phase).toBe("Completed");
    for (const guest of guests) await guest.stop().catch(() => undefined);
    for (const [index, home] of (await readDisks(move, volumes)).entries()) {
      expect(guests[index]?.isImage(home), `volume ${index + 1} at home`).toBe(true);
    }
    await expectNoWrite(uris[0] ?? "");
    await stage.processes.stop("gateway-berlin", "SIGKILL");
    stage.restart.recovery();
    await until("the gateway", 20_000, async () => ((await show(stage.env)).role === "Runs" ? true : undefined));
    await expectNoWrite(uris[0] ?? "");
    expect((await show(stage.homeEnv)).role).toBe("Runs");
  });
});
