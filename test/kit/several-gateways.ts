import { createVpgSchema } from "#core/api/site-api.ts";
import type { VmVolume } from "#core/protection/definition.ts";
import { createToken } from "#core/protection/tokens.ts";
import type { Caller, Site } from "#core/site.ts";
import { operator } from "./site.ts";

const MiB = 2 ** 20;

/** A VPG of one VM with one disk on each of some gateways, the first of which coordinates. */
export function severalGateways(names: readonly string[], over: object = {}) {
  const [first = ""] = names;
  return createVpgSchema.parse({
    name: "shop",
    protectedSite: "berlin",
    sourceGateway: first,
    recoveryGateway: "gw-recovery",
    compute: "gateway",
    vms: names.map((name, index) => ({
      name: `vm${index + 1}`,
      ...(index === 0 ? {} : { sourceGateway: name }),
      volumes: [{ name: "data", sizeBytes: MiB }],
    })),
    ...over,
  });
}

/** What a gateway of such a VPG offers when it opens a session. */
export const offered = (index: number): Pick<VmVolume, "vmName" | "name" | "sizeBytes" | "sectorBytes">[] => [
  { vmName: `vm${index + 1}`, name: "data", sizeBytes: MiB, sectorBytes: 512 },
];

/** Identities for them, and one for the recovery side. */
export async function gatewayCallers(site: Site, names: readonly string[]): Promise<readonly Caller[]> {
  const callers: Caller[] = [];
  for (const name of [...names, "gw-recovery"]) {
    const { gatewayId } = await createToken(site, { name, role: "gateway" }, operator);
    callers.push({ name, role: "gateway", gatewayId });
  }
  return callers;
}
