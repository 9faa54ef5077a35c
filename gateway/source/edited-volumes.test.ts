import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { idSchema } from "#core/ids.ts";
import { parsePosition } from "#core/journal/position.ts";
import { volumesOf } from "#core/protection/definition.ts";
import { definitionOfCheckpoint } from "#core/protection/definition-at.ts";
import { editVpg } from "#core/protection/edit-vpg.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { vpgView } from "#core/protection/vpg-view.ts";
import { GatewaySite, shopOf } from "../../test/kit/gateway-site.ts";
import { QuietLog } from "../../test/kit/quiet-log.ts";
import { operator } from "../../test/kit/site.ts";
import { type RunningGateway, runGateway } from "../main.ts";
import { NbdClient } from "../nbd/client.ts";
import { identifyDisk, knowDisks } from "../state/disk-identity.ts";
import { SourceState } from "../state/source-state.ts";
import { StateDirectory } from "../state/state-directory.ts";
import { openDisks } from "./closed-disks.ts";

const MiB = 2 ** 20;
const blockBytes = 4096;
/** The writer goes round blocks that stand this far apart, over many chunks. */
const strideBytes = 128 * 1024;
const blocks = 64;

let folder = "";
let site: GatewaySite;
let gateway: RunningGateway | undefined;

function configure(names: readonly string[]): void {
  const volumes = names.map((name) => `[[source.volume]]\nvm = "db"\nname = "${name}"\npath = "${name}.img"\n`);
  const text = `site = "${site.url}"\ntoken_file = "token"\nstate = "state"\n[source]\nvpg = "shop"\nsocket = "run/shop.sock"\n`;
  writeFileSync(join(folder, "gateway.toml"), text + volumes.join(""));
}

function disk(name: string, sizeBytes: number): void {
  const file = join(folder, `${name}.img`);
  if (!existsSync(file)) writeFileSync(file, Buffer.alloc(0));
  truncateSync(file, sizeBytes);
}

const start = async (): Promise<void> => {
  gateway = await runGateway({ configFile: join(folder, "gateway.toml"), log: new QuietLog() });
  await gateway.ready;
};

const stream = () => gateway?.status().source?.stream;
const connect = (name: string) => NbdClient.connect({ socketPath: join(folder, "run/shop.sock") }, `shop/db/${name}`);

const until = async (met: () => boolean | Promise<boolean>, what: string): Promise<void> => {
  for (let tries = 0; tries < 1400; tries += 1) {
    if (await met()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`never: ${what}: ${JSON.stringify(gateway?.status())}`);
};
const inSession = (session: number) =>
  until(
    async () =>
      stream()?.session === session && (await site.checkpoints()).some(({ position }) => position.session === session),
    `a checkpoint of session ${session}`,
  );

async function edit(sizes: Readonly<Record<string, number>>): Promise<void> {
  const { definition } = await getVpg(site.site, "shop");
  const ask = { definition: shopOf(sizes), revision: definition.revision, dryRun: false };
  await editVpg(site.site, operator, "shop", ask);
}

/** The gateway as a process of its own, which serves when it resolves. */
async function killable(): Promise<ChildProcess> {
  const script = new URL("../../test/kit/gateway-process.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, join(folder, "gateway.toml")], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  await new Promise<void>((resolve, reject) => {
    child.stdout.on("data", (text: Buffer) => (text.includes("ready") ? resolve() : undefined));
    child.once("exit", () => reject(new Error("the gateway ended")));
  });
  return child;
}

const stillDiffers = async (): Promise<string> =>
  (await vpgView(site.site, await getVpg(site.site, "shop"))).configurationProblem ?? "";

/** Writes the numbers after one round the first blocks of a volume until told to stop; answers the last. */
function writer(client: NbdClient, after = 0): { stop(): Promise<number> } {
  let going = true;
  const run = async (): Promise<number> => {
    let number = after;
    while (going) {
      number += 1;
      const block = Buffer.alloc(blockBytes);
      block.writeUInt32LE(number, 0);
      await client.write((number % blocks) * strideBytes, block);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return number;
  };
  const running = run();
  return {
    stop: () => {
      going = false;
      return running;
    },
  };
}

/** The image is what the first of the writes made, as many of them as its highest number says. */
function expectPrefix(image: Buffer, id: string): void {
  const numbers = Array.from({ length: blocks }, (_, index) => image.readUInt32LE(index * strideBytes));
  const last = Math.max(...numbers);
  const wanted = numbers.map((_, index) => {
    const back = (((last - index) % blocks) + blocks) % blocks;
    return Math.max(0, last - back);
  });
  expect(numbers, `checkpoint ${id} of ${last} writes`).toEqual(wanted);
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "farshore-edited-"));
  mkdirSync(join(folder, "run"));
  writeFileSync(join(folder, "token"), "token");
  disk("data", 8 * MiB);
  disk("log", 2 * MiB);
  site = await GatewaySite.start(shopOf({ data: 8 * MiB, log: 2 * MiB }));
  configure(["data", "log"]);
});
afterEach(async () => {
  await gateway?.close();
  gateway = undefined;
  await site.close();
  rmSync(folder, { recursive: true });
});

describe("an edited VPG", () => {
  it("gets its new volumes while the others are written, and compares nothing of what stayed", async () => {
    await start();
    await inSession(1);
    const client = await connect("data");
    const writing = writer(client);
    await until(async () => (await site.checkpoints()).length > 3, "checkpoints");
    const [old] = await site.checkpoints();

    await edit({ data: 8 * MiB, log: 4 * MiB, more: 3 * MiB });
    await until(() => stream()?.configurationProblem !== undefined, "the gateway says what it waits for");
    expect(stream()?.configurationProblem).toContain('add [[source.volume]] with vm = "db", name = "more"');
    const view = async () => vpgView(site.site, await getVpg(site.site, "shop"));
    await until(async () => (await view()).configurationProblem?.includes('name = "more"') === true, "and the site");
    expect(await view()).toMatchObject({ substatus: "NeedsConfiguration", revision: 2 });
    writeFileSync(join(folder, "more.img"), Buffer.alloc(3 * MiB, 7));
    configure(["data", "log", "more"]);
    await until(() => stream()?.configurationProblem?.includes("log.img") === true, "the disk is too small");
    const before = (await site.checkpoints()).length;
    await until(async () => (await site.checkpoints()).length > before, "the old session goes on meanwhile");
    site.hashAsks.length = 0;
    writeFileSync(join(folder, "log.img"), Buffer.alloc(2 * MiB, 3), { flag: "a" });
    await inSession(2);
    expect(stream()?.configurationProblem).toBeUndefined();

    const written = await writing.stop();
    await until(() => stream()?.idle === true, "idle");
    expect(written).toBeGreaterThan(blocks);
    // Of the volume that stayed only what was written during the change is looked at; of a new one nothing is asked.
    expect(site.hashAsks.filter(({ volume, blocksOf }) => volume === 3 || (volume === 1 && !blocksOf))).toEqual([]);
    for (const [volume, name, size] of [
      [1, "data", 8],
      [2, "log", 4],
      [3, "more", 3],
    ] as const) {
      const image = await site.image(volume, undefined, size * MiB);
      expect(image.equals(readFileSync(join(folder, `${name}.img`))), `${name} equals its disk`).toBe(true);
    }
    for (const { id } of await site.checkpoints()) expectPrefix(await site.image(1, parsePosition(id)), id);
    const { definition } = await getVpg(site.site, "shop");
    const then = await definitionOfCheckpoint(site.site, definition, old?.id ?? "");
    expect(volumesOf(then).map(({ name, sizeBytes }) => [name, sizeBytes / MiB])).toEqual([
      ["data", 8],
      ["log", 2],
    ]);
    await client.disconnect();
  });

  it("does not get a disk that was closed as another VPG's, by whatever path, until a person opens it", async () => {
    disk("moved", 3 * MiB);
    symlinkSync(join(folder, "moved.img"), join(folder, "more.img"));
    const state = () => StateDirectory.open(join(folder, "state"));
    const before = await state();
    const till = idSchema.parse("01k3zper4t0000000000000001");
    const disks = await knowDisks(identifyDisk, [join(folder, "moved.img")]);
    await (await SourceState.load(before, "till")).save({
      closed: { operationId: till, vpgId: till, term: null, disks, final: null },
    });
    await before.close();
    await start();
    await inSession(1);
    await edit({ data: 8 * MiB, log: 2 * MiB, more: 3 * MiB });
    configure(["data", "log", "more"]);
    await until(() => stream()?.configurationProblem?.includes("open-volumes till") === true, "refused");
    expect(stream()).toMatchObject({ session: 1, mode: "replicating" });
    await expect(connect("more")).rejects.toThrow();

    await gateway?.close();
    const stopped = await state();
    await openDisks(stopped, "till");
    await stopped.close();
    await start();
    await inSession(2);
    await (await connect("more")).disconnect();
  });

  it("lets a removed volume go, and after a clean restart with another one more looks at that alone", async () => {
    await start();
    await inSession(1);
    await edit({ data: 8 * MiB });
    configure(["data"]);
    await inSession(2);
    await expect(connect("log")).rejects.toThrow();
    await gateway?.close();

    site.hashAsks.length = 0;
    await edit({ data: 8 * MiB, third: MiB });
    disk("third", MiB);
    writeFileSync(join(folder, "third.img"), Buffer.alloc(MiB, 9));
    configure(["data", "third"]);
    await start();
    await inSession(3);
    expect(site.hashAsks).toEqual([]);
    expect((await site.image(3, undefined, MiB)).every((byte) => byte === 9)).toBe(true);
  });

  it("is compared whole when its disk was written while the gateway was down", async () => {
    await start();
    await inSession(1);
    await gateway?.close();
    await edit({ data: 8 * MiB, log: 2 * MiB, third: MiB });
    disk("third", MiB);
    configure(["data", "log", "third"]);
    writeFileSync(join(folder, "data.img"), Buffer.alloc(8 * MiB, 5));
    await start();
    await inSession(2);
    expect((await site.image(1)).every((byte) => byte === 5)).toBe(true);
    expect(site.hashAsks.some(({ volume }) => volume === 2)).toBe(false);
  });

  it("takes a volume that was removed and added again for another one, whole", async () => {
    writeFileSync(join(folder, "log.img"), Buffer.alloc(2 * MiB, 6));
    await start();
    await inSession(1);
    // The file names the volume throughout, so the gateway takes up the second edit alone.
    await edit({ data: 8 * MiB });
    await until(() => stream()?.configurationProblem?.includes("db/log") === true, "the gateway waits");
    await edit({ data: 8 * MiB, log: 2 * MiB });
    await inSession(2);
    const volume = async () => volumesOf((await getVpg(site.site, "shop")).definition).at(-1)?.volume ?? 0;
    expect(await volume()).toBe(3);
    const whole = async () => (await site.image(await volume(), undefined, 2 * MiB)).every((byte) => byte === 6);
    expect(await whole()).toBe(true);

    await gateway?.close();
    await edit({ data: 8 * MiB });
    await edit({ data: 8 * MiB, log: 2 * MiB });
    await start();
    await inSession(3);
    expect(await volume()).toBe(4);
    expect(await whole()).toBe(true);
  });
});

describe("a gateway that starts while its disks are not those of the definition", () => {
  const both = { data: 8 * MiB, log: 2 * MiB };
  const added = { ...both, more: 3 * MiB };
  const removed = { data: 8 * MiB };
  const grown = { ...both, log: 4 * MiB };
  type Sizes = Readonly<Record<string, number>>;
  const disksAre = (sizes: Sizes): void => {
    for (const [name, sizeBytes] of Object.entries(sizes)) disk(name, sizeBytes);
    configure(Object.keys(sizes));
  };

  it("compares everything when it was killed while they disagreed, however often", { timeout: 60_000 }, async () => {
    await start();
    await inSession(1);
    const early = writer(await connect("data"));
    await until(async () => (await site.checkpoints()).length > 2, "checkpoints");
    let written = await early.stop();
    await gateway?.close();
    gateway = undefined;
    await edit(added);
    for (let kill = 0; kill < 2; kill += 1) {
      const child = await killable();
      const client = await connect("data");
      const writing = writer(client, written);
      await until(async () => (await stillDiffers()).includes('name = "more"'), "the site says why");
      written = await writing.stop();
      await client.disconnect();
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    }
    disksAre(added);
    await start();
    await inSession(2);
    await until(() => stream()?.idle === true, "idle");
    for (const [volume, name] of [...Object.keys(added).entries()].map(([index, name]) => [index + 1, name] as const)) {
      const file = readFileSync(join(folder, `${name}.img`));
      expect((await site.image(volume, undefined, file.length)).equals(file), name).toBe(true);
    }
    const checkpoints = await site.checkpoints();
    for (const { id } of checkpoints) expectPrefix(await site.image(1, parsePosition(id)), id);
    expect(readFileSync(join(folder, "data.img")).readUInt32LE((written % blocks) * strideBytes)).toBe(written);
  });

  it.each<[string, string, Sizes, Sizes]>([
    ["the definition has a volume more", 'add [[source.volume]] with vm = "db", name = "more"', both, added],
    ["the definition has a volume less", "remove the [[source.volume]] of db/log", both, removed],
    ["the definition has a larger volume", "log.img of db/log has 2097152 bytes", both, grown],
    ["the disks are one more", "remove the [[source.volume]] of db/more", added, both],
    ["the disks are one less", 'add [[source.volume]] with vm = "db", name = "log"', removed, both],
    ["a disk is larger", "log.img of db/log has 4194304 bytes", grown, both],
  ])("serves them, and protects them once both agree: %s", async (_, problem, there, defined) => {
    await start();
    await inSession(1);
    const first = await connect("data");
    const early = writer(first);
    await until(async () => (await site.checkpoints()).length > 3, "checkpoints");
    const before = await early.stop();
    await gateway?.close();

    disksAre(there);
    if (defined !== both) await edit(defined);
    await start();
    for (const name of Object.keys(there)) {
      const client = await connect(name);
      await client.write(MiB + blockBytes, Buffer.alloc(blockBytes, 0xa5));
      await client.disconnect();
    }
    const writing = writer(await connect("data"), before);
    const view = async () => vpgView(site.site, await getVpg(site.site, "shop"));
    await until(async () => (await view()).configurationProblem?.includes(problem) === true, "the site says why");
    expect((await view()).substatus).toBe("NeedsConfiguration");

    const agreed = defined === both ? there : defined;
    if (defined === both) await edit(agreed);
    else disksAre(agreed);
    await inSession(2);
    expect((await view()).configurationProblem).toBeUndefined();
    expect(await writing.stop()).toBeGreaterThan(before);
    await until(() => stream()?.idle === true, "idle");
    const { definition } = await getVpg(site.site, "shop");
    for (const { volume, name, sizeBytes } of volumesOf(definition)) {
      const image = await site.image(volume, undefined, sizeBytes);
      expect(image.equals(readFileSync(join(folder, `${name}.img`))), `${name} equals its disk`).toBe(true);
    }
    for (const { id } of await site.checkpoints()) expectPrefix(await site.image(1, parsePosition(id)), id);
  });
});
