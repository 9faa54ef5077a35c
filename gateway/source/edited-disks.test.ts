/**
 * What is asked of a VPG's disks by name after it was edited while its gateway ran: the comparison before a move's commit, and the old
 * disks as seeds. The site is the real rules behind HTTP; images are judged by plain replay of its journal.
 */
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SystemClock } from "#adapters/embedded/clock.ts";
import type { CreateVpg } from "#core/api/site-api.ts";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { idSchema } from "#core/ids.ts";
import { closedResultSchema, type NamedVolume } from "#core/protection/command.ts";
import { volumesOf } from "#core/protection/definition.ts";
import { editVpg } from "#core/protection/edit-vpg.ts";
import { getVpg, updateVpg } from "#core/protection/vpg-store.ts";
import { GatewaySite, shopOf } from "../../test/kit/gateway-site.ts";
import { ReverseGateway } from "../../test/kit/reverse-gateway.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { operator } from "../../test/kit/site.ts";
import type { CommandContext } from "../control/handlers.ts";
import { NbdClient } from "../nbd/client.ts";

/** Chunks of each volume. */
type Sizes = Readonly<Record<string, number>>;
const before: Sizes = { data: 3, log: 2, swap: 2 };
const moveId = idSchema.parse("01hzzzzzzzzzzzzzzzzzzzzzz8");
const reverseId = idSchema.parse("01hzzzzzzzzzzzzzzzzzzzzzz9");
const context: CommandContext = { commandId: "c", signal: new AbortController().signal, progress: () => undefined };

const vpgOf = (sizes: Sizes): CreateVpg =>
  shopOf(Object.fromEntries(Object.entries(sizes).map(([name, chunks]) => [name, chunks * chunkBytes])));

describe("disks of a VPG that was edited while its gateway ran", { timeout: 120_000 }, () => {
  const random = new SeededRandom(3);
  let folder = "";
  let site: GatewaySite;
  let gateway: ReverseGateway | undefined;

  const pathOf = (name: string): string => join(folder, `${name}.img`);
  const linesOf = (sizes: Sizes): string =>
    `vpg = "shop"\nsocket = "shop.sock"\n${Object.keys(sizes)
      .map((name) => `[[source.volume]]\nvm = "db"\nname = "${name}"\npath = "${name}.img"\n`)
      .join("")}`;
  const running = (): ReverseGateway => {
    if (gateway === undefined) throw new Error("no gateway");
    return gateway;
  };
  const stream = () => running().sources.status()[0]?.stream;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "fs-edit-"));
    mkdirSync(join(folder, "state"));
    for (const [name, chunks] of Object.entries(before)) writeFileSync(pathOf(name), random.bytes(chunks * chunkBytes));
    site = await GatewaySite.start(vpgOf(before));
  });
  afterEach(async () => {
    await gateway?.close();
    gateway = undefined;
    await site.close();
    rmSync(folder, { recursive: true });
  });

  async function inSession(session: number): Promise<void> {
    for (let tries = 0; tries < 1500; tries += 1) {
      if (stream()?.session === session && stream()?.idle === true) return;
      if (stream() !== null) await running().beat(site);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`never session ${session}: ${JSON.stringify(running().sources.status())}`);
  }

  /** The gateway takes it up; a disk that is another one from then on, or larger, has been written to. */
  async function edit(sizes: Sizes, session: number): Promise<void> {
    const { definition } = await getVpg(site.site, "shop");
    await editVpg(site.site, operator, "shop", {
      definition: vpgOf(sizes),
      revision: definition.revision,
      dryRun: false,
    });
    const known = new Map(volumesOf(definition).map(({ name, sizeBytes }) => [name, sizeBytes]));
    for (const [name, chunks] of Object.entries(sizes)) {
      const more = chunks * chunkBytes - (known.get(name) ?? 0);
      if (more > 0) writeFileSync(pathOf(name), random.bytes(more), { flag: known.has(name) ? "a" : "w" });
    }
    running().configure(linesOf(sizes));
    await inSession(session);
  }

  const volumes = async (): Promise<NamedVolume[]> =>
    volumesOf((await getVpg(site.site, "shop")).definition).map(({ volume, vmName, name, sizeBytes, sectorBytes }) => ({
      ...{ volume, vmName, name, sizeBytes, sectorBytes },
    }));

  async function write(name: string, offset: number): Promise<void> {
    const client = await NbdClient.connect({ socketPath: join(folder, "shop.sock") }, `shop/db/${name}`);
    await client.write(offset, random.bytes(8192));
    await client.disconnect();
  }

  const base = () => ({ vpgId: site.vpgId, vpgName: "shop" });

  /** Closes them as a move does, and answers what its comparison finds. */
  async function verify(): Promise<Record<string, unknown> | undefined> {
    const { handlers } = running();
    const move = { ...base(), operationId: moveId };
    const close = { kind: "close-volumes" as const, ...move, term: null, final: true };
    const { final } = closedResultSchema.parse(await handlers["close-volumes"]?.(close, context));
    if (final === null) throw new Error("no FINAL");
    const upTo = { session: final.session, sequence: final.sequence };
    const body = { kind: "verify-volumes" as const, ...move, upTo, volumes: await volumes() };
    return await handlers["verify-volumes"]?.(body, context);
  }

  /** Closes them for good, writes to them behind everybody's back, and seeds the site, which takes seeds alone from then on. */
  async function seed(): Promise<Record<string, unknown> | undefined> {
    const { handlers } = running();
    const reverse = { ...base(), operationId: reverseId, term: 1 };
    await handlers["close-volumes"]?.({ kind: "close-volumes", ...reverse, final: false }, context);
    for (const { name } of await volumes()) {
      const file = openSync(pathOf(name), "r+");
      writeSync(file, random.bytes(5000), 0, 5000, chunkBytes - 2000);
      closeSync(file);
    }
    const vpg = await getVpg(site.site, site.vpgId);
    const gateways = [idSchema.parse(site.protectedVpg.source.gatewayId)];
    const offer = { n: 1, operationId: reverseId, gatewayLost: false, closed: true, begun: true, attempt: 1 };
    const revision = vpg.definition.revision + 1;
    const source = { sourceGatewayId: reverseId, sourceGatewayName: "gw-paris" };
    await updateVpg(site.site, vpg, {
      definition: { ...vpg.definition, ...source, revision, captureRevision: revision },
      role: "Preparing",
      gatewaySessions: vpg.gatewaySessions ?? {},
      reverse: { ...offer, gateways },
    });
    return await handlers["seed-volumes"]?.({ kind: "seed-volumes", ...reverse, volumes: await volumes() }, context);
  }

  async function expectImages(): Promise<void> {
    for (const { volume, name, sizeBytes } of await volumes()) {
      const image = await site.image(volume, undefined, sizeBytes);
      expect(image.equals(readFileSync(pathOf(name))), `${name} equals its disk`).toBe(true);
    }
  }

  const edits: readonly (readonly [string, readonly Sizes[]])[] = [
    ["a volume more", [{ ...before, more: 4 }]],
    ["a volume less", [{ log: 2, swap: 2 }]],
    ["a larger volume", [{ ...before, data: 5 }]],
    ["a volume that was removed and added again", [{ data: 3, swap: 2 }, before]],
    ["one more, one less and a larger one, at once", [{ data: 3, log: 4, more: 2 }]],
  ];

  it.each(edits)("are compared with their own volumes, and seeds of them: %s", async (_, steps) => {
    gateway = await ReverseGateway.start(folder, site, site.site, linesOf(before), new SystemClock());
    await inSession(1);
    for (const [index, sizes] of steps.entries()) await edit(sizes, index + 2);
    const sizes = Object.entries(steps.at(-1) ?? before);
    for (const [name, chunks] of sizes) await write(name, (chunks - 1) * chunkBytes);
    const hashedBytes = sizes.reduce((sum, [, chunks]) => sum + chunks * chunkBytes, 0);
    expect(await verify()).toEqual({ hashedBytes, differingBytes: 0 });
    await expectImages();
    expect(await seed()).toMatchObject({ hashedBytes, differingBytes: 2 * sizes.length * chunkBytes, leftOut: [] });
    await expectImages();
  });
});
