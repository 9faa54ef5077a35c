import { describe, expect, it } from "vitest";
import { listCheckpoints, type MarkerFact, type SessionFacts, type SyncFact, SyncTimeline } from "./checkpoint.ts";

function session(number: number, facts: Partial<SessionFacts> = {}): SessionFacts {
  return { session: number, term: 1, continues: false, volumes: [0], prefixSequence: 100, ...facts };
}
const begin = (of: number, sequence: number, volume = 0): SyncFact => ({
  session: of,
  sequence,
  kind: "sync-begin",
  volume,
});
const end = (of: number, sequence: number, volume = 0): SyncFact => ({
  session: of,
  sequence,
  kind: "sync-end",
  volume,
});
const close = (of: number, sequence: number): SyncFact => ({ session: of, sequence, kind: "close", volume: null });
const marker = (of: number, sequence: number): MarkerFact => ({ session: of, sequence, time: sequence, tag: "" });

function ids(sessions: readonly SessionFacts[], facts: readonly SyncFact[], markers: readonly MarkerFact[]): string[] {
  return listCheckpoints(sessions, facts, markers).map((checkpoint) => checkpoint.id);
}

describe("R12", () => {
  it("lists nothing before every volume's first sync has ended", () => {
    const sessions = [session(1, { volumes: [0, 1] })];
    const facts = [begin(1, 1), begin(1, 2, 1), end(1, 10), end(1, 20, 1)];
    expect(
      ids(
        sessions,
        facts,
        [5, 15, 25].map((at) => marker(1, at)),
      ),
    ).toEqual(["1-25"]);
  });

  it("lists nothing inside a later sync of any volume", () => {
    const facts = [end(1, 1), begin(1, 10), end(1, 20)];
    expect(
      ids(
        [session(1)],
        facts,
        [5, 10, 15, 20, 25].map((at) => marker(1, at)),
      ),
    ).toEqual(["1-5", "1-20", "1-25"]);
  });

  it("counts a marker only once its whole prefix is there", () => {
    const markers = [marker(1, 4), marker(1, 6)];
    expect(ids([session(1, { prefixSequence: 5 })], [end(1, 1)], markers)).toEqual(["1-4"]);
    expect(ids([session(1, { prefixSequence: 5 })], [end(1, 6)], markers)).toEqual([]);
    expect(ids([], [], markers)).toEqual([]);
  });

  const first = session(1, { prefixSequence: 10 });
  const second = session(2, { continues: true });
  it.each<[string, SessionFacts[], SyncFact[], string[]]>([
    ["continues a clean, synced session", [first, second], [end(1, 1), close(1, 10)], ["1-5", "2-5"]],
    ["does not say so", [first, session(2)], [end(1, 1), close(1, 10)], ["1-5"]],
    ["follows a crash", [first, second], [end(1, 1)], ["1-5"]],
    [
      "follows a close that never arrived",
      [session(1, { prefixSequence: 9 }), second],
      [end(1, 1), close(1, 10)],
      ["1-5"],
    ],
    [
      "follows a close that is not the end",
      [session(1, { prefixSequence: 11 }), second],
      [end(1, 1), close(1, 10)],
      ["1-5"],
    ],
    ["follows a session that was closed unsynced", [first, second], [end(1, 1), begin(1, 6), close(1, 10)], ["1-5"]],
    [
      "does not follow the one before at once",
      [first, session(3, { continues: true })],
      [end(1, 1), close(1, 10)],
      ["1-5"],
    ],
    [
      "opens one volume more",
      [first, session(2, { continues: true, volumes: [0, 1] })],
      [end(1, 1), close(1, 10)],
      ["1-5"],
    ],
    [
      "opens one volume more and syncs it",
      [first, session(2, { continues: true, volumes: [0, 1] })],
      [end(1, 1), close(1, 10), end(2, 4, 1)],
      ["1-5", "2-5"],
    ],
    ["syncs after a crash", [first, session(2)], [end(1, 1), begin(2, 1), end(2, 4)], ["1-5", "2-5"]],
  ])("a session that %s", (_, sessions, facts, listed) => {
    expect(ids(sessions, facts, [marker(1, 5), marker(2, 5), marker(3, 5)])).toEqual(listed);
  });

  it("never lists a marker of seeds, nor takes their end for a clean one, whatever they say of themselves", () => {
    const seeds = session(1, { prefixSequence: 10, seed: true });
    const said = [end(1, 1), close(1, 10)];
    expect(ids([seeds, second], said, [marker(1, 5), marker(2, 5)])).toEqual([]);
    expect(ids([seeds, second], [...said, end(2, 3)], [marker(1, 5), marker(2, 5)])).toEqual(["2-5"]);
    expect(ids([session(1, { seed: true, volumes: [] })], [], [marker(1, 5)])).toEqual([]);
    expect([...new SyncTimeline([seeds], said).unsyncedAt({ session: 1, sequence: 5 })]).toEqual([0]);
  });

  it("carries clean ends over several sessions", () => {
    const chain = [1, 2, 3].map((number) => session(number, { continues: number > 1, prefixSequence: 10 }));
    expect(ids(chain, [end(1, 1), close(1, 10), close(2, 10)], [marker(3, 5)])).toEqual(["3-5"]);
    expect(ids(chain, [end(1, 1), close(1, 10), begin(2, 2), close(2, 10)], [marker(3, 5)])).toEqual([]);
  });

  it("says which volumes are a mixture, and gives each checkpoint its term", () => {
    const timeline = new SyncTimeline([session(4, { term: 7, volumes: [0, 2] })], [end(4, 2, 2)]);
    expect([...timeline.unsyncedAt({ session: 4, sequence: 1 })]).toEqual([0, 2]);
    expect([...timeline.unsyncedAt({ session: 4, sequence: 2 })]).toEqual([0]);
    expect(timeline.unsyncedAt({ session: 1, sequence: 2 }).size).toBe(0);
    expect(listCheckpoints([session(4, { term: 7 })], [end(4, 2)], [marker(4, 3)])).toEqual([
      { id: "4-3", term: 7, session: 4, sequence: 3, time: 3, tag: "" },
    ]);
  });
});
