import { z } from "zod";
import { gatewayMeansSchema, type StreamState, streamStateSchema } from "#core/api/gateway-api.ts";
import type { GatewayView } from "#core/api/site-api.ts";
import { type Id, idSchema } from "#core/ids.ts";
import { checkStored } from "#core/json.ts";
import type { Site } from "#core/site.ts";
import { items } from "./items.ts";
import { protectionLimits as limits } from "./limits.ts";

/** What a gateway's last heartbeat said. */
export const gatewayFieldsSchema = z.object({
  lastSeenAt: z.int(),
  /** An instant of our clock at which what it says was not sampled yet, or just was; null when none is known. */
  knownAt: z.int().nullable().default(null),
  /** Its clock minus ours. Shown, and decides nothing. */
  skewMs: z.int(),
  version: z.string(),
  processId: idSchema,
  streams: z.array(streamStateSchema),
  attachedOperations: z.array(idSchema),
  /** Of older gateways nothing is known. */
  means: gatewayMeansSchema.nullable().default(null),
});
export type GatewayFields = z.infer<typeof gatewayFieldsSchema>;

/** Undefined for one that was never heard of. */
export async function findGateway(site: Site, gatewayId: Id): Promise<GatewayFields | undefined> {
  const item = await site.table.get(items.gateway(gatewayId));
  return item && checkStored(gatewayFieldsSchema, item.fields, `gateway ${gatewayId}`);
}

/** By the site's clock alone. A heartbeat from a little ahead is another machine's clock; from far ahead, one that jumped back. */
export const isFresh = (at: number | null, now: number): boolean =>
  at !== null && Math.abs(now - at) <= limits.heartbeatSilenceMs;

/** Heard of within three heartbeats. */
export function isConnected(gateway: GatewayFields | undefined, now: number): gateway is GatewayFields {
  return gateway !== undefined && isFresh(gateway.lastSeenAt, now);
}

export function streamOf(gateway: GatewayFields | undefined, vpgId: Id): StreamState | undefined {
  return gateway?.streams.find((stream) => stream.vpgId === vpgId);
}

/** Every gateway that has an identity here, by name. */
export async function listGateways(site: Site): Promise<readonly GatewayView[]> {
  const now = site.clock.now();
  const views: GatewayView[] = [];
  let cursor: string | undefined;
  do {
    const page = await site.table.query("gateway-name", cursor === undefined ? {} : { cursor });
    for (const item of page.items) {
      const gatewayId = idSchema.parse(item.fields["gatewayId"]);
      const gateway = await findGateway(site, gatewayId);
      views.push({
        gatewayId,
        name: item.sk,
        lastSeenAt: gateway?.lastSeenAt ?? null,
        connected: isConnected(gateway, now),
        skewMs: gateway?.skewMs ?? null,
        version: gateway?.version ?? null,
      });
    }
    cursor = page.cursor;
  } while (cursor !== undefined);
  return views;
}
