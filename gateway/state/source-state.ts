import { z } from "zod";
import { type Id, idSchema } from "#core/ids.ts";
import { finalSchema } from "#core/protection/command.ts";
import { positionSchema } from "#core/protection/term.ts";
import type { StateStore } from "./state-directory.ts";

const diskSchema = z.strictObject({
  vmName: z.string(),
  name: z.string(),
  path: z.string(),
  sizeBytes: z.int(),
  /** Device and inode, or the number of a block device, in decimal. */
  identity: z.string(),
  /** Times of a file (mtime and ctime, ns), the write counts of a block device; empty when it can't be known (disk-identity.ts). */
  modifiedAt: z.string(),
});
export type DiskIdentity = z.infer<typeof diskSchema>;

const knownDiskSchema = diskSchema.pick({ path: true }).extend({
  /** Null when it could not be looked at. */
  identity: diskSchema.shape.identity.nullable(),
});
/** A disk by its name and by what it is. */
export type KnownDisk = z.infer<typeof knownDiskSchema>;

const schema = z.strictObject({
  formatVersion: z.literal(1),
  vpgId: idSchema.nullable(),
  term: z.int(),
  /** Last session ordinal; 0 for none. */
  session: z.int(),
  /** Last batch of it known to be acknowledged with all before it; -1 for none. */
  acknowledgedBatch: z.int(),
  /** Of the session that is being asked for: a repeated ask gets the same one. */
  pendingNonce: idSchema.nullable(),
  /** The session was closed, all of it acknowledged, and the disks flushed. */
  clean: z.boolean(),
  /** Why write access was denied last, by a fence or by the site when asked; null since a session was opened. */
  fenced: z.string().nullable(),
  /** By a move or a reverse protection: no write is taken until it is opened, whatever the configuration says of grants. */
  closed: z
    .strictObject({
      operationId: idSchema,
      /** Whose disks it closed: another VPG's when the mark came with a disk (closed-disks.ts). */
      vpgId: idSchema,
      /** Of a reverse protection: closed for good, until a later term. */
      term: z.int().nullable(),
      /** The disks, which stay closed under another VPG's name and by another path too. */
      disks: z.array(knownDiskSchema),
      /** Once the site has all of the session. */
      final: finalSchema.nullable(),
    })
    .nullable()
    .default(null),
  /** The operation whose close was undone last: what still comes of it is late. */
  opened: idSchema.nullable().default(null),
  /** The operation whose promoted disks all this is about; null for those of the configuration. */
  promotedBy: idSchema.nullable().default(null),
  /** The operation whose promoted disks have become those of the configuration; null when that was never, or others followed. */
  adopted: idSchema.nullable().default(null),
  /** The disks as they were at the clean end. */
  disks: z.array(diskSchema),
  /** The journal's numbers of their volumes, in the same order; empty where they aren't known. */
  journalVolumes: z.array(z.int()).default([]),
  /** The last record of the session that ended cleanly, acknowledged. */
  end: positionSchema.nullable().default(null),
});
export type SourceFacts = z.infer<typeof schema>;

export type ClosedMark = NonNullable<SourceFacts["closed"]>;

const none: SourceFacts = {
  formatVersion: 1,
  vpgId: null,
  term: 0,
  session: 0,
  acknowledgedBatch: -1,
  pendingNonce: null,
  clean: false,
  fenced: null,
  closed: null,
  opened: null,
  promotedBy: null,
  adopted: null,
  disks: [],
  journalVolumes: [],
  end: null,
};

/** A gateway's memory of one VPG's sessions at one site, by the VPG's name (R4); of captures and of seeds apart. */
export class SourceState {
  readonly #directory: StateStore;
  readonly #name: string;
  #facts: SourceFacts;

  private constructor(directory: StateStore, name: string, facts: SourceFacts) {
    this.#directory = directory;
    this.#name = name;
    this.#facts = facts;
  }

  /** The names of the VPGs that this gateway has captured, or captures. */
  static async names(directory: StateStore): Promise<readonly string[]> {
    return (await directory.list("source-")).map((name) => name.slice("source-".length));
  }

  static async load(directory: StateStore, vpgName: string, what: "source" | "seed" = "source"): Promise<SourceState> {
    const name = `${what}-${vpgName}`;
    return new SourceState(directory, name, (await directory.read(name, schema)) ?? none);
  }

  get facts(): SourceFacts {
    return this.#facts;
  }

  /** Durable once it resolves. */
  async save(changes: Partial<SourceFacts>): Promise<void> {
    this.#facts = { ...this.#facts, ...changes };
    await this.#directory.write(this.#name, this.#facts);
  }

  /**
   * Other disks are the VPG's now, captured in that term: what is known of its sessions stays, what was known of the disks before goes.
   * But what closed the VPG for good until a later term than theirs closes them too: they are older ones, whose followers were removed.
   */
  async followedBy(promotedBy: Id, capturedTerm: number): Promise<void> {
    const { closed, vpgId } = this.#facts;
    const lasts = closed?.term != null && closed.vpgId === vpgId && closed.term >= capturedTerm;
    await this.save({
      promotedBy,
      closed: lasts ? closed : null,
      opened: null,
      adopted: null,
      clean: false,
      disks: [],
    });
  }

  /** Forgets the VPG it was about: the name means another one now. */
  async forget(): Promise<void> {
    await this.save({ ...none, promotedBy: this.#facts.promotedBy });
  }
}
