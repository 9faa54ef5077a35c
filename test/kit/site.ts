import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { SqliteTable } from "#adapters/embedded/table.ts";
import type { OpenSession } from "#core/api/gateway-api.ts";
import { type CreateVpg, createVpgSchema } from "#core/api/site-api.ts";
import { Transient } from "#core/errors.ts";
import { type Id, idSchema, newId } from "#core/ids.ts";
import type { Log, Notify, Objects, Peers, Table, Workflows } from "#core/ports.ts";
import { createVpg } from "#core/protection/create-vpg.ts";
import { createToken } from "#core/protection/tokens.ts";
import type { VpgRecord } from "#core/protection/vpg-store.ts";
import type { Caller, Site } from "#core/site.ts";
import { SeededRandom } from "./seeded-random.ts";
import { VirtualClock } from "./virtual-clock.ts";

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** People who hear nothing. */
export const silentNotify: Notify = { publish: async () => undefined };

/** Other sites where a test has none. */
export const noPeers: Peers = { ask: () => Promise.reject(new Transient("no peers in this test")) };

/** A site's workflows where a test starts none. */
export const noWorkflows: Workflows = {
  start: () => Promise.reject(new Error("no workflows in this test")),
  describe: async () => undefined,
  stop: async () => undefined,
  succeed: async () => undefined,
  fail: async () => undefined,
  heartbeat: async () => undefined,
};

export interface TestSite extends Site {
  readonly clock: VirtualClock;
  readonly table: Table & { close?(): void };
}

/** A site in memory; `over` replaces its parts, for instance by faulty ones or by those of another process. */
export function makeSite(
  over: { objects?: Objects; table?: Table; workflows?: Workflows; seed?: number } = {},
): TestSite {
  const clock = new VirtualClock();
  const random = new SeededRandom(over.seed ?? 1);
  return {
    siteId: idSchema.parse("01k3s1te000000000000000001"),
    siteName: "recovery",
    objects: over.objects ?? new MemoryObjects(),
    table: over.table ?? new SqliteTable(":memory:"),
    workflows: over.workflows ?? noWorkflows,
    clock,
    random,
    log: silentLog,
    notify: silentNotify,
    peers: noPeers,
  };
}

export const operator: Caller = { name: "ann", role: "operator", gatewayId: null };

export const twoVolumes: CreateVpg = createVpgSchema.parse({
  name: "shop",
  protectedSite: "berlin",
  sourceGateway: "gw-berlin",
  recoveryGateway: "gw-recovery",
  compute: "gateway",
  vms: [
    {
      name: "db",
      volumes: [
        { name: "data", sizeBytes: 64 * 2 ** 20 },
        { name: "log", sizeBytes: 16 * 2 ** 20 },
      ],
    },
  ],
});

export interface ProtectedVpg {
  readonly vpg: VpgRecord;
  readonly source: Caller;
  readonly recovery: Caller;
}

/** A VPG of two volumes with both its gateways. */
export async function protect(site: Site, input: CreateVpg = twoVolumes): Promise<ProtectedVpg> {
  const gateway = async (name: string): Promise<Caller> => {
    const { gatewayId } = await createToken(site, { name, role: "gateway" }, operator);
    return { name, role: "gateway", gatewayId };
  };
  const source = await gateway(input.sourceGateway);
  const recovery = await gateway(input.recoveryGateway ?? "gw-recovery");
  return { vpg: await createVpg(site, input, operator), source, recovery };
}

/** What a gateway that has never run asks. */
export function openAsk(site: Site, vpgId: Id, over: Partial<OpenSession> = {}): OpenSession {
  return {
    vpgId,
    nonce: newId(site.clock, site.random),
    lastSession: 0,
    acknowledgedBatch: -1,
    cleanlyClosed: false,
    acceptRegression: false,
    volumes: twoVolumes.vms.flatMap((vm) =>
      vm.volumes.map(({ name, sizeBytes, sectorBytes }) => ({ vmName: vm.name, name, sizeBytes, sectorBytes })),
    ),
    ...over,
  };
}
