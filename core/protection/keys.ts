import type { Id } from "#core/ids.ts";

/** Where a site's own objects stand in its bucket; those that an offline reader needs too are in core/journal/keys.ts. */
export const bucketKeys = {
  /** Every definition of every VPG. */
  definitions: "vpgs/",
  /** One for every VPG that was deleted; its journal stays a while (core/retention/purge-deleted.ts). */
  deletedVpgs: "deleted-vpgs/",
  deletedVpg: (vpgId: Id): string => `deleted-vpgs/${vpgId}.json`,
  /** Token hashes and IAM roles with their names, so that gateways and people are still known after a rebuild. */
  tokens: "tokens/",
  token: (name: string): string => `tokens/${name}.json`,
  /** Every revision of every peer. */
  peers: "peers/",
  peer: (name: string, revision: number): string => `peers/${name}/${String(revision).padStart(10, "0")}.json`,
} as const;
