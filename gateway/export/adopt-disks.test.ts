/** Recovered disks that become those of the configuration: what was captured, under the site's real rules. */
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { chunkBytes } from "#core/blocks/geometry.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { editVpg } from "#core/protection/edit-vpg.ts";
import type { Role } from "#core/protection/term.ts";
import { getVpg } from "#core/protection/vpg-store.ts";
import { operationId as batchesOperation } from "../../test/kit/batches.ts";
import { GatewaySite, shopOf } from "../../test/kit/gateway-site.ts";
import { NbdGuest } from "../../test/kit/nbd-guest.ts";
import { type RandomJournal, randomJournal } from "../../test/kit/random-journal.ts";
import { commandsOf, runCommand } from "../../test/kit/recovery.ts";
import { ReverseGateway } from "../../test/kit/reverse-gateway.ts";
import { SeededRandom } from "../../test/kit/seeded-random.ts";
import { operator } from "../../test/kit/site.ts";
import type { SourceVpgConfig } from "../config.ts";
import { NbdClient } from "../nbd/client.ts";
import { SourceState } from "../state/source-state.ts";
import { StateDirectory, type StateStore } from "../state/state-directory.ts";
import { type Adoption, adoptDisks, adoptionOf } from "./adopt-disks.ts";
import { OperationFolder } from "./operation-folder.ts";

const promotedBy = idSchema.parse(batchesOperation);
const another = idSchema.parse("01hzzzzzzzzzzzzzzzzzzzzzz9");
const sizes = new Map([
  [1, 3 * chunkBytes + 4096],
  [2, 2 * chunkBytes],
]);
const named = ["data", "log-disk"].map((name, index) => ({ volume: index + 1, name }));
const definition = shopOf({ data: sizes.get(1) ?? 0, "log-disk": sizes.get(2) ?? 0 });

describe("recovered disks that a VPG runs on", () => {
  let folder = "";
  let directory = "";
  let site: GatewaySite;
  let journal: RandomJournal;
  let life: ReverseGateway | undefined;
  let guest: NbdGuest | undefined;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "fs-adopt-"));
    directory = join(folder, "r");
    mkdirSync(join(folder, "disks"));
    journal = await randomJournal(new SeededRandom(5), sizes);
    site = await GatewaySite.start(definition);
  });
  afterEach(async () => {
    await guest?.stop();
    guest = undefined;
    await stop();
    await site.close();
    rmSync(folder, { recursive: true });
  });

  async function stop(): Promise<void> {
    await life?.close();
    life = undefined;
  }
  /** The other way round than the journal has them. */
  const volumes: SourceVpgConfig["volumes"] = named.toReversed().map(({ name }) => ({
    ...{ vmName: "db", name, sectorBytes: 512 },
    get path() {
      return join(folder, "disks", `${name}.img`);
    },
  }));
  const source = (): string =>
    `vpg = "shop"\nsocket = "shop.sock"\n${volumes
      .map(({ name, path }) => `[[source.volume]]\nvm = "db"\nname = "${name}"\npath = "${path}"\n`)
      .join("")}`;
  const start = async (): Promise<ReverseGateway> => {
    life = await ReverseGateway.start(folder, site, journal, source());
    return life;
  };
  const status = () => life?.sources.status()[0];
  const until = async (met: () => boolean | Promise<boolean>, what: string): Promise<void> => {
    for (let tries = 0; tries < 2000; tries += 1) {
      if (await met()) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`never: ${what}: ${JSON.stringify([status(), life?.log.entries.slice(-5)])}`);
  };
  const settled = () => until(() => status()?.stream?.idle === true, "idle");
  const guestOf = async (image: Buffer): Promise<NbdGuest> => {
    const client = await NbdClient.connect({ socketPath: join(folder, "shop.sock") }, "shop/db/data");
    guest = new NbdGuest(client, image, new SeededRandom(4));
    return guest;
  };

  async function protect({ handlers }: ReverseGateway): Promise<unknown> {
    const offered = named.map(({ volume, name }) => ({
      ...{ volume, vmName: "db", name, sizeBytes: sizes.get(volume) ?? 0, sectorBytes: 512 as const },
    }));
    const body = { operationId: another, vpgId: site.vpgId, vpgName: "shop", term: 1, promotedBy, volumes: offered };
    const context = { commandId: "c", signal: AbortSignal.timeout(20_000), progress: () => undefined };
    return await handlers["protect-volumes"]?.({ kind: "protect-volumes", ...body }, context);
  }

  /** A live failover's disks, committed, captured, all of them journaled, and the gateway stopped. */
  async function captured(): Promise<void> {
    // The old disks that the configuration had named are gone: it names new paths.
    life = await ReverseGateway.start(folder, site, journal);
    const { vpgId } = site;
    const commands = commandsOf(journal.upTo, sizes);
    await runCommand(life.recovery, { ...commands.attach, vpgId });
    await runCommand(life.recovery, { ...commands.promote, vpgId });
    await protect(life);
    await settled();
    await stop();
  }

  async function withState<T>(work: (state: StateDirectory) => Promise<T>): Promise<T> {
    const state = await StateDirectory.open(join(folder, "state"));
    try {
      return await work(state);
    } finally {
      await state.close();
    }
  }
  const askedOf = (
    state: StateStore,
    { configured = { name: "shop", volumes }, role = "Journal" }: Asked = {},
  ): Promise<Adoption> => adoptionOf(directory, promotedBy, { configured, roleOf: () => Promise.resolve(role), state });
  const adopt = (): Promise<void> => withState(async (state) => adoptDisks(directory, await askedOf(state), state));
  interface Asked {
    readonly configured?: Pick<SourceVpgConfig, "name" | "volumes">;
    readonly role?: Role | "deleted";
  }

  it("are those of the configuration once adopted: without a comparison after a clean stop, and they can grow", async () => {
    await captured();
    await adopt();
    expect(readdirSync(join(directory, "operations"))).toEqual([]);
    expect(readdirSync(join(directory, "kept"))).toEqual([]);
    site.requests.length = 0;
    await start();
    await settled();
    expect(status()?.stream).toMatchObject({ session: 2, mode: "replicating" });
    expect(status()?.stream).not.toHaveProperty("recoveredDisks");
    expect(site.requests.filter((request) => request.includes("hashes"))).toEqual([]);
    const image = readFileSync(join(folder, "disks", "data.img"));
    expect((await site.image(1)).equals(image)).toBe(true);
    expect(statSync(join(folder, "disks", "data.img")).mode & 0o777).toBe(0o600);
    // A reverse protection that is retried asks for the operation's disks.
    if (life === undefined) throw new Error("no life");
    expect(await protect(life)).toEqual({ session: 2 });
    const writes = await guestOf(image);
    await writes.work(20);
    await settled();
    expect((await site.image(1)).equals(writes.image)).toBe(true);
    await writes.stop();

    const beat = async () => life?.beat(site);
    await beat();
    const grown = 5 * chunkBytes;
    const vms = definition.vms.map((vm) => ({
      ...vm,
      volumes: vm.volumes.map((each) => (each.name === "data" ? { ...each, sizeBytes: grown } : each)),
    }));
    const { revision } = (await getVpg(site.site, "shop")).definition;
    await editVpg(site.site, operator, "shop", { definition: { ...definition, vms }, revision, dryRun: false });
    await until(async () => (await beat())?.includes("grow it") === true, "asked to grow it");
    truncateSync(join(folder, "disks", "data.img"), grown);
    await until(async () => {
      await beat();
      return status()?.stream?.session === 3 && status()?.stream?.mode === "replicating";
    }, "the grown volume's session");
    await settled();
    const client = await NbdClient.connect({ socketPath: join(folder, "shop.sock") }, "shop/db/data");
    await client.write(grown - 8192, Buffer.alloc(8192, 0x33), { fua: true });
    await client.disconnect();
    await settled();
    const whole = await site.image(1, undefined, grown);
    expect(whole.equals(readFileSync(join(folder, "disks", "data.img")))).toBe(true);
    expect(whole.at(-1)).toBe(0x33);
  });

  it("are compared once they were written behind everybody's back before", async () => {
    await captured();
    const data = join(new OperationFolder(directory, promotedBy).volumeFolder(1), "data");
    const bytes = readFileSync(data);
    bytes.fill(0x77, chunkBytes + 512, chunkBytes + 1024);
    writeFileSync(data, bytes);
    await adopt();
    await start();
    await settled();
    expect((await site.image(1)).equals(bytes)).toBe(true);
  });

  describe("adopted by a command that is killed", () => {
    it.each([1, 2])("after %i of two names: are the operation's still, and can be adopted again", async (done) => {
      await captured();
      const { moves } = await withState((state) => askedOf(state));
      for (const { from, to } of moves.slice(0, done)) linkSync(from, to);
      await start();
      await settled();
      expect(status()?.stream).toMatchObject({ session: 2, recoveredDisks: true });
      await stop();
      await adopt();
      await start();
      await settled();
      expect(status()?.stream).toMatchObject({ session: 3 });
      expect((await site.image(1)).equals(readFileSync(join(folder, "disks", "data.img")))).toBe(true);
      expect(existsSync(moves[0]?.from ?? "")).toBe(false);
    });

    it("before it is written down: are the configuration's, and compared", async () => {
      await captured();
      await withState(async (state) => {
        let writes = 0;
        const write = (name: string, value: unknown): Promise<void> => {
          writes += 1;
          return writes > 1 ? Promise.reject(new Error("killed")) : state.write(name, value);
        };
        const dies: StateStore = {
          read: (name, schema) => state.read(name, schema),
          list: (prefix) => state.list(prefix),
          remove: (name) => state.remove(name),
          write,
        };
        await expect(adoptDisks(directory, await askedOf(state), dies)).rejects.toThrow("killed");
        await expect(askedOf(state)).rejects.toMatchObject({ name: "NotFound" });
      });
      await start();
      await settled();
      expect(status()?.stream).toMatchObject({ session: 2, mode: "replicating" });
      expect((await site.image(2)).equals(readFileSync(join(folder, "disks", "log-disk.img")))).toBe(true);
    });

    it("loses nothing when another's file took a name meanwhile", async () => {
      await captured();
      await withState(async (state) => {
        const adoption = await askedOf(state);
        writeFileSync(join(folder, "disks", "data.img"), "another's");
        await expect(adoptDisks(directory, adoption, state)).rejects.toThrow("is there already");
      });
      expect(readFileSync(join(folder, "disks", "data.img"), "utf8")).toBe("another's");
      await start();
      await settled();
      expect(status()?.stream).toMatchObject({ session: 2, recoveredDisks: true });
    });
  });

  describe("stay where they are", () => {
    const expectRefused = async (message: string | RegExp, asked?: Asked): Promise<void> => {
      await withState(async (state) => await expect(askedOf(state, asked)).rejects.toThrow(message));
      expect(readdirSync(join(folder, "disks")).filter((file) => file !== "data.img")).toEqual([]);
    };

    it("while the configuration doesn't name them all, or names others", async () => {
      await captured();
      const [log, data] = volumes;
      if (log === undefined || data === undefined) throw new Error("no volumes");
      await expectRefused('names no vpg = "shop"', { configured: { name: "other", volumes } });
      await expectRefused("add [[source.volume]] for db/log-disk", { configured: { name: "shop", volumes: [data] } });
      const more = { vmName: "db", name: "more", path: join(folder, "disks", "more.img"), sectorBytes: 512 as const };
      await expectRefused("are without db/more", {
        configured: { name: "shop", volumes: [...volumes, more] },
      });
      const nowhere = { ...data, path: join(folder, "nowhere", "data.img") };
      await expectRefused("is no folder", { configured: { name: "shop", volumes: [log, nowhere] } });
      const wide = { ...data, sectorBytes: 4096 as const };
      await expectRefused("set sector = 512 for db/data", { configured: { name: "shop", volumes: [log, wide] } });
      writeFileSync(data.path, "the old one");
      await expectRefused("data.img is there already");
    });

    it.each<[Role | "deleted", string]>([
      ["Preparing", "reverse protection has to end first"],
      ["Dark", "it knows no term"],
      ["Runs", "it runs the VPG itself"],
      ["deleted", "was deleted there"],
    ])("while the other site doesn't protect them (%s)", async (role, message) => {
      await captured();
      await expectRefused(message, { role });
    });

    it("once they are closed, for what this gateway has never served, and beside those of an earlier cycle", async () => {
      await captured();
      await withState(async (state) => {
        const mark = { operationId: another, vpgId: site.vpgId, term: 2, disks: [], final: null };
        await (await SourceState.load(state, "shop")).save({ closed: mark });
      });
      await expectRefused(`were closed by operation ${another}`);
      await withState(async (state) => {
        await (await SourceState.load(state, "shop")).save({ closed: null, promotedBy: another });
      });
      await expectRefused("start the gateway with it first");
      const left = new OperationFolder(directory, another);
      const body = await new OperationFolder(directory, promotedBy).attachBody();
      if (body === undefined) throw new Error("nothing attached");
      await left.recordAttach({ ...body, operationId: another });
      await left.recordPromoted(1);
      await expectRefusedOf(another, "reverse-protection start");
      await left.recordCaptured(0);
      await expectRefused(`keep those of operation ${another} from being served`);
      await expectRefusedOf(another, "of an earlier cycle");
      await expectRefusedOf(idSchema.parse("01hzzzzzzzzzzzzzzzzzzzzzz8"), "has no disks here");
    });

    it("beside those of a deleted VPG of the same name, and at a path that another VPG's closed disk had", async () => {
      await captured();
      const namesake = new OperationFolder(directory, another);
      const body = await new OperationFolder(directory, promotedBy).attachBody();
      if (body === undefined) throw new Error("nothing attached");
      await namesake.recordAttach({ ...body, operationId: another, vpgId: another });
      await namesake.recordPromoted(1);
      await namesake.recordCaptured(1);
      await expectRefused(`keep those of operation ${another} from being served`);
      rmSync(namesake.path, { recursive: true });
      await withState(async (state) => {
        const disks = [{ path: join(folder, "disks", "data.img"), identity: "file 1 2" }];
        const mark = { operationId: another, vpgId: another, term: null, disks, final: null };
        await (await SourceState.load(state, "crm")).save({ closed: mark });
      });
      await expectRefused("as a disk of crm, whose VMs may run elsewhere");
    });

    const linkTo = (target: string): string => {
      symlinkSync(target, join(folder, "link"));
      return join(folder, "link");
    };
    it.each([
      ["that they have", (data: string) => data],
      ["of a link to them", linkTo],
      ["by a link to their folder", (data: string) => join(linkTo(dirname(data)), "data")],
      ["in their operation's folder", (data: string) => join(dirname(data), "data.img")],
      ["among the sockets", () => join(directory, "s", "data.img")],
      ["in the recovery directory", () => join(directory, "data.img")],
      ["of a link that leads nowhere", () => linkTo("nothing")],
    ])("at the path %s", async (_name, at) => {
      await captured();
      const file = join(new OperationFolder(directory, promotedBy).volumeFolder(1), "data");
      const bytes = readFileSync(file);
      const [log, data] = volumes;
      if (log === undefined || data === undefined) throw new Error("no volumes");
      const there = { ...data, path: at(file) };
      await expectRefused(/is there already|come and go/, { configured: { name: "shop", volumes: [log, there] } });
      // Not even when nobody looks before.
      const moves = [{ vmName: "db", name: "data", sizeBytes: bytes.length, from: file, to: there.path }];
      await withState(async (state) => {
        const { disks } = await askedOf(state);
        await expect(adoptDisks(directory, { disks, moves }, state)).rejects.toMatchObject({ name: "InvalidInput" });
      });
      expect(readFileSync(file).equals(bytes)).toBe(true);
    });

    it("when one of them is missing", async () => {
      await captured();
      rmSync(join(new OperationFolder(directory, promotedBy).volumeFolder(1), "data"));
      await expectRefused("data is missing");
    });

    const expectRefusedOf = (operation: Id, message: string): Promise<void> =>
      withState(async (state) => {
        const facts = { configured: { name: "shop", volumes }, roleOf: () => Promise.resolve("Journal" as const) };
        await expect(adoptionOf(directory, operation, { ...facts, state })).rejects.toThrow(message);
      });
  });
});
