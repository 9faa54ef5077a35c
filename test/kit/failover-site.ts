import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { type CreateVpg, createVpgSchema } from "#core/api/site-api.ts";
import { type Id, idSchema } from "#core/ids.ts";
import type { Clock, Objects, Random, Table } from "#core/ports.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { openSession } from "#core/protection/open-session.ts";
import type { VpgRecord } from "#core/protection/vpg-store.ts";
import type { Caller, Site } from "#core/site.ts";
import { SeededRandom } from "./seeded-random.ts";
import { noPeers, noWorkflows, openAsk, protect, silentLog, silentNotify } from "./site.ts";
import { Stream } from "./stream.ts";
import { VirtualClock } from "./virtual-clock.ts";

export const noon = Date.UTC(2030, 0, 1, 12);

/** Two VMs in two boot groups, three volumes, a delay between the groups. */
export const shop: CreateVpg = createVpgSchema.parse({
  name: "shop",
  protectedSite: "berlin",
  sourceGateway: "gw-berlin",
  recoveryGateway: "gw-recovery",
  compute: "gateway",
  vms: [
    {
      name: "db",
      bootGroup: 1,
      volumes: [
        { name: "data", sizeBytes: 2 ** 26 },
        { name: "log", sizeBytes: 2 ** 24 },
      ],
    },
    { name: "web", bootGroup: 2, volumes: [{ name: "root", sizeBytes: 2 ** 24 }] },
  ],
  bootDelays: [{ bootGroup: 1, delayMs: 7500 }],
});

/** What outlives every process of a site: its bucket, its table, the time. */
export interface Durable {
  readonly objects: Objects;
  readonly table: Table;
  readonly clock: Clock;
  /** Several VPGs of one site take theirs from one source, or their ids would be the same. */
  readonly random?: Random;
}

export interface ProtectedShop<C extends Clock = VirtualClock> extends Durable {
  readonly clock: C;
  /** A site without workflows, for setting up and looking. */
  readonly site: Site;
  readonly vpg: VpgRecord;
  readonly source: Caller & { readonly gatewayId: Id };
  readonly recovery: Caller & { readonly gatewayId: Id };
  readonly stream: Stream;
  /** Ids of the checkpoints at noon (tag "before"), noon + 5 s and noon + 10 s. */
  readonly checkpoints: readonly string[];
}

export const siteOf = (durable: Durable): Site => ({
  siteId: idSchema.parse("01k3s1te000000000000000001"),
  siteName: "recovery",
  workflows: noWorkflows,
  random: new SeededRandom(1),
  ...durable,
  log: silentLog,
  notify: silentNotify,
  pagesAtOnce: 2,
  peers: noPeers,
});

/** A VPG with three checkpoints and one write behind the last, two seconds after it. */
export function protectShop(input: CreateVpg = shop): Promise<ProtectedShop> {
  const table = new SqliteTable(":memory:");
  return protectAt({ objects: new MemoryObjects(), table, clock: new VirtualClock() }, input);
}

/** The same on any bucket, table and clock. */
export async function protectAt<C extends Clock>(
  world: Durable & { readonly clock: C },
  input: CreateVpg,
): Promise<ProtectedShop<C>> {
  const site = siteOf(world);
  const { vpg, source, recovery } = await protect(site, input);
  const volumes = input.vms.flatMap((vm) =>
    vm.volumes.map(({ name, sizeBytes, sectorBytes }) => ({ vmName: vm.name, name, sizeBytes, sectorBytes })),
  );
  const opened = await openSession(site, source, openAsk(site, vpg.vpgId, { volumes }));
  const stream = new Stream(vpg.vpgId, opened);
  const checkpoints: string[] = [];
  await ingestBatch(site, source, stream.synced());
  for (const [index, tag] of ["before", "", ""].entries()) {
    await ingestBatch(site, source, stream.checkpoint(noon + index * 5000, tag));
    checkpoints.push(`${stream.session}-${stream.sequence}`);
  }
  const write = { volume: 1, offset: 0, bytes: new Uint8Array(512).fill(9) };
  await ingestBatch(site, source, stream.next([write], [], noon + 12_000));
  return { ...world, site, vpg, source: withId(source), recovery: withId(recovery), stream, checkpoints };
}

function withId(caller: Caller): Caller & { readonly gatewayId: Id } {
  if (caller.gatewayId === null) throw new TypeError("a gateway's token has its gateway's id");
  return { ...caller, gatewayId: caller.gatewayId };
}
