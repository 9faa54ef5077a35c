import { z } from "zod";
import { authOf, iamAccess, regionOf, type SiteAccess } from "#adapters/site-access.ts";
import { InvalidInput, Transient } from "#core/errors.ts";
import { idSchema } from "#core/ids.ts";
import type { Peer } from "#core/protection/peer.ts";
import { SiteClient } from "./site-client.ts";

/** Of a status reply, who answers; the rest may be of another version. */
const identitySchema = z.object({ site: z.object({ siteId: idSchema, name: z.string(), version: z.string() }) });
export type PeerIdentity = z.infer<typeof identitySchema>["site"];

/** The peer's answer to who it is, by the caller's own credentials there: AWS's where requests are signed, otherwise `token`. */
export async function askPeer(peer: Pick<Peer, "url" | "region">, token: string | undefined): Promise<PeerIdentity> {
  const { site } = await new SiteClient(peer.url, accessOf(peer, token)).get("/v1/status", identitySchema);
  return site;
}

function accessOf({ url, region }: Pick<Peer, "url" | "region">, token: string | undefined): SiteAccess {
  if (region !== null || authOf(url, undefined) === "iam") return iamAccess(url, region ?? undefined);
  if (token !== undefined && token !== "") return { kind: "token", token };
  throw new InvalidInput(`no token of the peer at ${url}: set FARSHORE_PEER_TOKEN`);
}

/** The region that requests to the URL are signed for, where it is known. */
export const peerRegion = (url: string, named: string | undefined): string | null => regionOf(url) ?? named ?? null;

/** What came of asking a peer, for people: a peer that can't be asked is no failure of this site. */
export async function reachability(peer: Peer, token: string | undefined): Promise<PeerReach> {
  try {
    const identity = await askPeer(peer, token);
    if (peer.siteId !== null && identity.siteId !== peer.siteId) {
      return { name: peer.name, reachable: false, detail: `another site answers there, ${identity.siteId}` };
    }
    return { name: peer.name, reachable: true, detail: `version ${identity.version}` };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return { name: peer.name, reachable: error instanceof Transient ? false : null, detail };
  }
}

export interface PeerReach {
  readonly name: string;
  /** Null when the caller could not ask. */
  readonly reachable: boolean | null;
  readonly detail: string;
}

export function reachText(reach: PeerReach | undefined): string {
  if (reach === undefined) return "unknown";
  const { reachable, detail } = reach;
  return `${reachable === null ? "unknown" : reachable ? "yes" : "no"}: ${detail}`;
}
