/**
 * A VPG whose journal is preseeded with copies of its disks, with real processes and the command line: what differs is all that the
 * source sends, and what the copies hold never matters to the result. The seed gives contents and kills:
 * SEED=2 npx vitest run --project whole test/preseed
 */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { commandViewSchema } from "#core/api/site-api.ts";
import { farshore, type Processes } from "../../scripts/demo/processes.ts";
import { type Plan, type Stage, show, until, vm, vpg } from "../../scripts/demo/stage.ts";
import { SeededRandom } from "../kit/seeded-random.ts";
import { cleanUpStages, settled, type WholeStage, wholeStage } from "../kit/whole-stage.ts";

const MiB = 2 ** 20;
const seed = Number(process.env["SEED"] ?? 1);
const volumes = [
  { name: "data", bytes: 24 * MiB },
  { name: "log", bytes: 3 * MiB + 4096 },
  { name: "boot", bytes: 2 * MiB },
  { name: "swap", bytes: MiB },
  { name: "spare", bytes: 5 * MiB + 512 },
];
const figuresSchema = z.object({ hashedBytes: z.int(), shippedBytes: z.int() });

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "fs-preseed-"));
});
cleanUpStages();
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Disks, and copies of them in the folder "shipped". */
function disks(random: SeededRandom): ReadonlyMap<string, { readonly disk: Buffer; readonly copy: Buffer }> {
  mkdirSync(join(folder, "shipped"));
  const made = new Map<string, { disk: Buffer; copy: Buffer }>();
  for (const { name, bytes } of volumes) {
    const disk = Buffer.from(random.bytes(bytes));
    // A part that was never written, as disks have.
    if (bytes > 4 * MiB) disk.fill(0, MiB, 2 * MiB);
    made.set(name, { disk, copy: Buffer.from(disk) });
  }
  return made;
}

/** Starts everything with `before` done while nothing is protected yet; the checkpoints' images must be the disks. */
async function staged(
  made: ReadonlyMap<string, { readonly disk: Buffer; readonly copy: Buffer }>,
  before: NonNullable<Plan["beforeSource"]>,
): Promise<WholeStage> {
  for (const [name, { disk, copy }] of made) {
    writeFileSync(join(folder, `${name}.img`), disk);
    writeFileSync(join(folder, "shipped", `${name}.img`), copy);
  }
  const stage = await wholeStage({
    volumes: volumes.map((volume) => ({ ...volume, disk: join(folder, `${volume.name}.img`) })),
    checkpointInterval: "1s",
    recovery: `preseed = "${join(folder, "shipped")}"\n`,
    beforeSource: before,
  });
  await settled(stage);
  const [newest] = await stage.list();
  if (newest === undefined) throw new Error("no checkpoint");
  for (const [name, { disk }] of made) {
    expect((await stage.image(newest.id, name)).equals(disk), `${name} equals its disk`).toBe(true);
  }
  return stage;
}

const copies = (names: readonly string[]): string[] => names.map((name) => `${vm}/${name}=${name}.img`);
const preseed = async ({ env }: Pick<Stage, "env">, names: readonly string[]) =>
  figuresSchema.parse(await farshore(["vpg", "preseed", vpg, ...copies(names)], env));

describe("a preseed", () => {
  it("leaves to the source what differs, however wrong the copies are, and is refused once protection has begun", async () => {
    const random = new SeededRandom(seed);
    const made = disks(random);
    const [data, log, boot, spare] = ["data", "log", "boot", "spare"].map((name) => made.get(name));
    if (data === undefined || log === undefined || boot === undefined || spare === undefined) throw new Error("none");
    // What was written since the copy was made: a few blocks, and zeros where there was data.
    for (const at of [0, 7 * MiB + 8192, 20 * MiB]) data.copy.fill(1, at, at + 4096);
    data.disk.fill(0, 10 * MiB, 10 * MiB + 65_536);
    log.copy.fill(1, log.copy.length - 512);
    // The copy has data where the disk has none.
    spare.copy.fill(3, MiB, MiB + 4096);
    // And one that is the copy of something else altogether.
    random.bytes(boot.copy.length).copy(boot.copy);
    const differing = 5 * 4096 + 512 + 65_536 + boot.copy.length;

    let refusals: readonly string[] = [];
    const stage = await staged(made, async (own) => {
      writeFileSync(join(folder, "secret.img"), data.copy);
      symlinkSync(join(folder, "secret.img"), join(folder, "shipped", "link.img"));
      writeFileSync(join(folder, "shipped", "short.img"), data.copy.subarray(0, -512));
      const refused = (...args: string[]): Promise<string> =>
        farshore(["vpg", "preseed", vpg, ...args], own.env).then(() => "taken", String);
      refusals = [
        await refused("db/data=../secret.img"),
        await refused(`db/data=${join(folder, "secret.img")}`),
        await refused("db/data=link.img"),
        await refused("db/data=short.img"),
        await refused("db/data=nothing.img"),
        await refused("db/else=data.img"),
      ];
      const figures = await preseed(own, ["data", "log", "boot", "spare"]);
      expect(figures.hashedBytes).toBeGreaterThanOrEqual(data.copy.length + boot.copy.length);
      // The same again finds it all there.
      expect(await preseed(own, ["data"])).toMatchObject({ shippedBytes: 0 });
      expect((await show(own.env)).checkpoints).toBe(0);
    });
    expect(refusals.map((text) => /is not in|bytes and db\/data has|ENOENT|no volume/.exec(text)?.[0])).toEqual([
      ...["is not in", "is not in", "is not in", "bytes and db/data has", "ENOENT", "no volume"],
    ]);
    const { shippedBytes } = await show(stage.env);
    // Beside it the volume that had no copy, and what batches have around their data.
    const swap = made.get("swap")?.disk.length ?? 0;
    console.info(`differs ${differing} bytes and ${swap} without a copy; the source sent ${shippedBytes}`);
    expect(shippedBytes).toBeLessThan(1.1 * (differing + swap));
    await expect(preseed(stage, ["data"])).rejects.toThrow("ProtectionBegan");
  });

  it(`goes on after its site and its gateway were killed, seed ${seed}`, async () => {
    const random = new SeededRandom(seed);
    const made = disks(random);
    const changed = made.get("data")?.copy;
    changed?.fill(9, 3 * MiB, 3 * MiB + 4096);
    const names = volumes.map(({ name }) => name);
    const stage = await staged(made, async (own, processes) => {
      const asked = await farshore(["vpg", "preseed", vpg, ...copies(names), "--no-wait"], own.env);
      const { commandId } = commandViewSchema.pick({ commandId: true }).parse(asked);
      for (let kill = 0; kill < 5; kill += 1) await killOne(own, processes, random);
      await until("the preseed", 120_000, async () => {
        const { FARSHORE_SITE: site, FARSHORE_TOKEN: token } = own.env;
        const reply = await fetch(`${site}/v1/commands/${commandId}`, {
          headers: { authorization: `Bearer ${token}` },
        });
        const { state, error } = commandViewSchema.parse(await reply.json());
        expect(error).toBeNull();
        return state === "done" ? true : undefined;
      });
    });
    const { shippedBytes } = await show(stage.env);
    expect(shippedBytes).toBeLessThan(4 * 4096);
  });
});

/** Ends the site or the gateway at a moment of the seed's choosing, and starts it again. */
async function killOne({ restart }: Stage, processes: Processes, random: SeededRandom): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, random.below(1200)));
  const site = random.below(2) === 0;
  const name = site ? "site-berlin" : "gateway-berlin";
  await until(name, 20_000, async () => processes.pid(name));
  await processes.stop(name, "SIGKILL");
  if (site) restart.site();
  else restart.recovery();
}
