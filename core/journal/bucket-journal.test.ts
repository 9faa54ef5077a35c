import { beforeEach, describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { Corrupt } from "#core/errors.ts";
import { operationId, patterned, type SampleBatch, siteId, tampered, vpgId } from "../../test/kit/batches.ts";
import { JournalWriter } from "../../test/kit/journal.ts";
import type { BatchEvent } from "./batch.ts";
import { BucketJournal } from "./bucket-journal.ts";
import { batchKey, sessionClaimKey } from "./keys.ts";
import { at } from "./layout.ts";
import { verifyJournal } from "./verify-journal.ts";

let objects: MemoryObjects;
let writer: JournalWriter;
/** Keys of session 1's three batches. */
let keys: string[];

const batches: readonly SampleBatch[] = [
  {
    extents: [{ sequence: 2, offset: 0, bytes: patterned(4096, 1) }],
    events: [
      { kind: "sync-begin", sequence: 1, volume: 0 },
      { kind: "sync-end", sequence: 3, volume: 0 },
    ],
  },
  { events: [{ kind: "marker", sequence: 4, time: 10, tag: "a" }] },
  {
    extents: [{ sequence: 6, offset: 1024 * 1024, bytes: patterned(512, 1) }],
    events: [
      { kind: "resize", sequence: 5, volume: 0, sizeBytes: 2 * 1024 * 1024 },
      { kind: "marker", sequence: 7, time: 20, tag: "b" },
    ],
  },
];

beforeEach(async () => {
  objects = new MemoryObjects();
  writer = new JournalWriter(objects);
  await writer.open();
  keys = [];
  for (const batch of batches) keys.push(await writer.append(batch));
});

async function listed(): Promise<string[]> {
  const journal = await BucketJournal.open(objects, vpgId);
  const report = await verifyJournal(objects, vpgId);
  expect(report.problems).toEqual([]);
  expect(report.checkpoints).toBe(journal.checkpoints().length);
  return journal.checkpoints().map((checkpoint) => checkpoint.id);
}

describe("the journal read from the bucket alone", () => {
  it("lists checkpoints, sizes and finals, and counts what it read", async () => {
    await writer.append({ events: [{ kind: "final", sequence: 8, operationId, hash: new Uint8Array(32) }] });
    expect(await listed()).toEqual(["1-4", "1-7"]);
    const seen: number[] = [];
    const journal = await BucketJournal.open(objects, vpgId, ({ batches: count }) => seen.push(count));
    expect(seen).toEqual([1, 2, 3, 4]);
    expect(journal.volumesAt({ session: 1, sequence: 4 }).get(0)?.sizeBytes).toBe(1024 * 1024);
    expect(journal.volumesAt({ session: 1, sequence: 7 }).get(0)?.sizeBytes).toBe(2 * 1024 * 1024);
    expect(journal.facts.finals).toMatchObject([{ session: 1, sequence: 8, operationId }]);
    const report = await verifyJournal(objects, vpgId);
    expect(report).toMatchObject({ sessions: 1, sealedSessions: 0, batches: 4, checkpoints: 2, voidObjects: 0 });
  });

  it("ends a session at the first absent batch", async () => {
    await objects.delete(keys[1] ?? "");
    expect(await listed()).toEqual([]);
    expect(await verifyJournal(objects, vpgId)).toMatchObject({ batches: 1, voidObjects: 1 });
  });

  it("ends a session at its seal: what is put behind it never existed, garbage included", async () => {
    await writer.seal();
    const behind = { vpgId, term: 1, session: 1, batch: 4 };
    await objects.put(batchKey(behind), patterned(5000, 1));
    await objects.put(batchKey({ ...behind, batch: 5 }), await objects.get(keys[2] ?? ""));
    await objects.put(batchKey({ ...behind, term: 2 }), await objects.get(keys[2] ?? ""));
    expect(await listed()).toEqual(["1-4", "1-7"]);
    const journal = await BucketJournal.open(objects, vpgId);
    expect(journal.sessions[0]?.end).toMatchObject({
      kind: "sealed",
      seal: { siteId, reason: "session-opened", followingSession: 2 },
    });
    expect(await verifyJournal(objects, vpgId)).toMatchObject({ sealedSessions: 1, batches: 3, voidObjects: 3 });
  });

  it("carries a clean end into the session that continues it, and a crash not", async () => {
    await writer.append({ events: [{ kind: "close", sequence: 8 }] });
    await writer.seal();
    await writer.open({ continues: true, volumes: [{ volume: 0, sizeBytes: 2 * 1024 * 1024, sectorBytes: 512 }] });
    await writer.append({ events: [{ kind: "marker", sequence: 1, time: 30, tag: "" }] });
    await writer.open({ continues: true });
    await writer.append({ events: [{ kind: "marker", sequence: 1, time: 40, tag: "" }] });
    expect(await listed()).toEqual(["1-4", "1-7", "2-1"]);
  });

  it("knows a VPG without sessions, and nothing of others'", async () => {
    expect((await BucketJournal.open(objects, siteId)).checkpoints()).toEqual([]);
    expect(await verifyJournal(objects, siteId)).toMatchObject({ sessions: 0, batches: 0, problems: [] });
  });
});

describe("damage", () => {
  async function found(): Promise<{ message: string; error: string; key: string }[]> {
    const journal = await BucketJournal.open(objects, vpgId);
    const report = await verifyJournal(objects, vpgId);
    expect(journal.damage).toBeInstanceOf(Corrupt);
    expect(journal.damage?.details["key"]).toBe(report.problems[0]?.key);
    expect(report.checkpoints).toBe(journal.checkpoints().length);
    return [...report.problems];
  }

  async function replace(index: number, change: (bytes: Uint8Array) => Uint8Array): Promise<void> {
    await objects.put(keys[index] ?? "", change(await objects.get(keys[index] ?? "")));
  }

  it("of a header is found by both readers", async () => {
    await replace(1, (bytes) => {
      bytes[130] = 1;
      return bytes;
    });
    expect(await found()).toMatchObject([{ key: keys[1], error: "Corrupt" }]);
  });

  it("hides what rests on it, in later sessions too, and nothing before it", async () => {
    const flip = async (key: string) => {
      const bytes = Uint8Array.from(await objects.get(key));
      bytes[130] = (bytes[130] ?? 0) ^ 1;
      await objects.put(key, bytes);
    };
    await writer.seal();
    await writer.open();
    await writer.append({
      events: [
        { kind: "sync-begin", sequence: 1, volume: 0 },
        { kind: "sync-end", sequence: 2, volume: 0 },
        { kind: "marker", sequence: 3, time: 30, tag: "" },
      ],
    });
    expect(await listed()).toEqual(["1-4", "1-7", "2-3"]);
    await flip(keys[2] ?? "");
    expect(await found()).toMatchObject([{ key: keys[2] }]);
    const journal = await BucketJournal.open(objects, vpgId);
    expect(journal.checkpoints().map(({ id }) => id)).toEqual(["1-4"]);
    expect(journal.sessions.map(({ end }) => end.kind)).toEqual(["damaged"]);
    await flip(sessionClaimKey(vpgId, 2));
    await flip(keys[2] ?? "");
    expect(await found()).toMatchObject([{ key: sessionClaimKey(vpgId, 2) }]);
    expect((await BucketJournal.open(objects, vpgId)).checkpoints().map(({ id }) => id)).toEqual(["1-4", "1-7"]);
  });

  it("of the hash that a batch ends with is not held against the batch behind it", async () => {
    await replace(0, (bytes) => {
      bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
      return bytes;
    });
    expect(await found()).toMatchObject([{ key: keys[0], error: "Corrupt" }]);
  });

  it("of a payload is found by verification", async () => {
    await replace(0, (bytes) => {
      bytes[bytes.length - 40] = (bytes[bytes.length - 40] ?? 0) ^ 1;
      return bytes;
    });
    const { problems, batches: count } = await verifyJournal(objects, vpgId);
    expect(problems).toMatchObject([{ key: keys[0], error: "Corrupt" }]);
    expect(count).toBe(3);
  });

  it("by a batch of another place", async () => {
    const other = await objects.get(keys[2] ?? "");
    await replace(1, () => other);
    expect(await found()).toMatchObject([{ key: keys[1] }]);
  });

  it("of bounds is found by verification", async () => {
    const key = await writer.append({ extents: [{ sequence: 8, offset: 1024 ** 3, bytes: patterned(512, 1) }] });
    expect((await verifyJournal(objects, vpgId)).problems).toMatchObject([{ key, error: "Corrupt" }]);
  });

  it("of a session object", async () => {
    await writer.open();
    await writer.open({ term: 2 });
    await writer.open({ term: 1 });
    expect(await found()).toMatchObject([{ error: "Corrupt" }]);
    await objects.put(sessionClaimKey(vpgId, 2), await objects.get(sessionClaimKey(vpgId, 1)));
    expect(await found()).toMatchObject([{ error: "Corrupt" }]);
  });

  it("of a seal", async () => {
    const key = await writer.seal();
    await objects.put(
      key,
      tampered(await objects.get(key), (view) => view.setUint32(at.session, 5, true)),
    );
    expect(await found()).toMatchObject([{ key, error: "Corrupt" }]);
  });
});

describe("a batch that doesn't go on from the one before it", () => {
  /** Ids that are listed, after both readers agreed that the run ends before `key`. */
  async function endsBefore(key: string, problem: string): Promise<string[]> {
    const journal = await BucketJournal.open(objects, vpgId);
    const report = await verifyJournal(objects, vpgId);
    expect(journal.damage).toBeUndefined();
    expect(journal.sessions[0]?.end).toEqual({ kind: "broken", key, problem });
    expect(report.problems).toMatchObject([{ key, error: "Diverged", message: expect.stringContaining(problem) }]);
    expect(report.batches).toBe(journal.sessions[0]?.batches.length);
    expect(report.checkpoints).toBe(journal.checkpoints().length);
    return journal.checkpoints().map(({ id }) => id);
  }

  it("ends the run by its hash, whatever stands behind it", async () => {
    const key = keys[1] ?? "";
    const bytes = tampered(await objects.get(keys[0] ?? ""), (view) => view.setUint32(at.configRevision, 9, true));
    await objects.put(keys[0] ?? "", bytes);
    expect(await endsBefore(key, "does not name the hash of the batch before it")).toEqual([]);
    expect(await verifyJournal(objects, vpgId)).toMatchObject({ batches: 1, voidObjects: 2 });
  });

  it("ends the run by its sequences", async () => {
    const next = writer.next({ firstSequence: 9, events: [{ kind: "marker", sequence: 9, time: 1, tag: "" }] });
    await objects.put(next.key, next.object);
    expect(await endsBefore(next.key, "starts at sequence 9, not 8")).toEqual(["1-4", "1-7"]);
  });

  const hash = new Uint8Array(32);
  it.each<BatchEvent>([
    { kind: "close", sequence: 8 },
    { kind: "final", sequence: 8, operationId, hash },
  ])("ends the run when it stands behind the $kind", async (last) => {
    await writer.append({ events: [last] });
    const key = await writer.append({ events: [{ kind: "marker", sequence: 9, time: 1, tag: "" }] });
    expect(await endsBefore(key, "follows the close or final of its session")).toEqual(["1-4", "1-7"]);
  });
});
