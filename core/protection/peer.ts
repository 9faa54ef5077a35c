import { z } from "zod";
import { InvalidInput, PeerHasNoJournal } from "#core/errors.ts";
import { idSchema, nameSchema } from "#core/ids.ts";
import { protectionLimits as limits } from "./limits.ts";

/** The URL of a site's API in one spelling: no user, query, fragment or slash at the end. */
const siteUrlSchema = z
  .url({ protocol: /^https?$/, error: "must be an http or https URL" })
  .max(limits.peerUrlCharactersMax)
  .regex(/^[^?#@\s\\]+$/, "must be the URL of a site, without user, query or fragment")
  .transform((text) => new URL(text).href.replace(/\/+$/, ""));

const asked = {
  /** What VPGs call it as their `protectedSite`. */
  name: nameSchema,
  /** Who answers at the URL; null when nobody was asked. */
  siteId: idSchema.nullable(),
  /** Of its API for people. */
  url: siteUrlSchema,
  /** For which requests to it are signed; null for a site that knows callers by tokens. */
  region: z
    .string()
    .regex(/^[a-z]{2}(-[a-z]+)+-\d$/, 'must be the name of an AWS region, such as "eu-central-1"')
    .nullable(),
  /** Whether VPGs that run here may be journaled there. */
  journal: z.boolean(),
};

/** What an operator says of a peer. */
export const addPeerSchema = z.strictObject(asked);
export type AddPeer = z.infer<typeof addPeerSchema>;

/** Another whole site, as this one knows it. Nothing here depends on it (invariant 3). */
export const peerSchema = z.object({ ...asked, changedAt: z.int(), initiatedBy: z.string() });
export type Peer = z.infer<typeof peerSchema>;

/** One revision of what is known under a name: the bucket object `peers/<name>/<revision>.json`, the newest also in the table. */
export const peerRevisionSchema = peerSchema.extend({
  formatVersion: z.literal(1),
  revision: z.int().min(1),
  removed: z.boolean(),
});
export type PeerRevision = z.infer<typeof peerRevisionSchema>;

type By = Pick<Peer, "changedAt" | "initiatedBy">;

/**
 * The revision that makes the peer what is asked; undefined when it is that already. A peer moves to another URL only when the
 * same site answers there. Throws `InvalidInput` for another site, or another URL where nobody was asked.
 */
export function revisePeer(current: PeerRevision | undefined, input: AddPeer, by: By): PeerRevision | undefined {
  const known = current?.removed === false ? current : undefined;
  const { name, url, region, journal } = input;
  if (known !== undefined && known.siteId !== null && input.siteId !== null && known.siteId !== input.siteId) {
    throw new InvalidInput(
      `peer "${name}" is the site ${known.siteId}, and at ${url} the site ${input.siteId} answers; choose another name, or remove the peer first`,
      { field: "siteId" },
    );
  }
  if (known !== undefined && known.url !== url && input.siteId === null) {
    throw new InvalidInput(
      `peer "${name}" is at ${known.url}; it moves to ${url} only when the site there is asked who it is, or after it was removed`,
      { field: "url" },
    );
  }
  const siteId = input.siteId ?? known?.siteId ?? null;
  const same = known?.url === url && known.region === region && known.journal === journal && known.siteId === siteId;
  if (same) return undefined;
  return { formatVersion: 1, revision: next(current), removed: false, name, siteId, url, region, journal, ...by };
}

/** The revision that ends the peer; undefined when it is removed already. */
export function endPeer(current: PeerRevision, by: By): PeerRevision | undefined {
  return current.removed ? undefined : { ...current, revision: next(current), removed: true, ...by };
}

const next = (current: PeerRevision | undefined): number => (current?.revision ?? 0) + 1;

/**
 * Why reverse protection to a VPG's protected site would be refused; undefined when nothing known here stands against it. The
 * next term names the site that journals by its id, so that must be known too.
 */
export function reverseProblem(
  protectedSite: string,
  peer: Pick<Peer, "siteId" | "journal"> | undefined,
): PeerHasNoJournal | undefined {
  const details = { protectedSite };
  if (peer === undefined) {
    return new PeerHasNoJournal(`no site is known as ${protectedSite} (farshore site peer add)`, details);
  }
  if (!peer.journal) return new PeerHasNoJournal(`peer ${protectedSite} has no journal`, details);
  if (peer.siteId !== null) return undefined;
  return new PeerHasNoJournal(
    `peer ${protectedSite} was never asked who it is; add it again without --unchecked`,
    details,
  );
}
