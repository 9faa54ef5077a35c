import { describe, expect, it } from "vitest";
import type { Position } from "#core/journal/position.ts";
import { listCheckpoints, positionOfVolume, type SessionFacts, type SharedFacts, type SyncFact } from "./checkpoint.ts";

const gateways = ["a", "b"];

/** Session of a gateway of two, with its one volume. */
function session(of: string, number: number, facts: Partial<SessionFacts> = {}, shared: Partial<SharedFacts> = {}) {
  return {
    ...{ session: number, term: 1, continues: false, volumes: [gateways.indexOf(of)], prefixSequence: 100, ...facts },
    shared: { gatewayId: of, gateways, configRevision: 1, previous: 0, ...shared },
  };
}
const fact = (kind: SyncFact["kind"], of: number, sequence: number, volume: number | null = null): SyncFact => ({
  ...{ session: of, sequence, kind, volume },
});
const synced: readonly SyncFact[] = [fact("sync-end", 1, 1, 0), fact("sync-end", 2, 1, 1)];
const at = (number: number, sequence: number): Position => ({ session: number, sequence });
const barrierAt = (place: Position, ...vector: Position[]) => ({ ...place, time: 0, tag: "", vector });
const barrier = barrierAt(at(1, 11), at(1, 10), at(2, 20));

const listed = (
  sessions: readonly SessionFacts[],
  facts: readonly SyncFact[] = synced,
  markers: readonly Parameters<typeof listCheckpoints>[2][number][] = [barrier],
): string[] => listCheckpoints(sessions, facts, markers).map(({ id }) => id);

const [a, b] = [session("a", 1), session("b", 2)];

describe("R11", () => {
  it("lists a barrier of all gateways, and gives each volume its own gateway's position", () => {
    const [checkpoint] = listCheckpoints([a, b], synced, [barrier]);
    expect(checkpoint).toEqual({ ...barrier, id: "1-11", term: 1 });
    if (checkpoint === undefined) return;
    const volumesOf = (number: number) => (number === 1 ? [0] : [1]);
    expect([0, 1].map((volume) => positionOfVolume(checkpoint, volumesOf, volume))).toEqual([at(1, 10), at(2, 20)]);
  });

  it("lists no marker of a VPG with several gateways, and no barrier of one with one", () => {
    expect(listed([a, b], synced, [{ ...at(1, 11), time: 0, tag: "" }])).toEqual([]);
    const alone = [a, b].map(({ shared: _, ...facts }) => facts);
    expect(listed(alone)).toEqual([]);
  });

  it.each<[string, SessionFacts[]]>([
    ["its own session has not come so far", [session("a", 1, { prefixSequence: 10 }), b]],
    ["another session has not come so far", [a, session("b", 2, { prefixSequence: 19 })]],
    ["another session is unknown", [a]],
    ["both sessions are of one gateway", [a, session("a", 2, { volumes: [1] })]],
    ["it is not the coordinator's", [session("b", 1, { volumes: [0] }), session("a", 2, { volumes: [1] })]],
    ["a session is of another term", [a, session("b", 2, { term: 2 })]],
    ["a session is of another configuration", [a, session("b", 2, {}, { configRevision: 2 })]],
    [
      "the configuration has a gateway more",
      [session("a", 1, {}, { gateways: ["a", "b", "c"] }), session("b", 2, {}, { gateways: ["a", "b", "c"] })],
    ],
    ["the sessions disagree who is in it", [a, session("b", 2, {}, { gateways: ["b", "a"] })]],
  ])("lists none when %s", (_, sessions) => {
    expect(listed(sessions)).toEqual([]);
  });

  it.each<[string, SyncFact[]]>([
    ["the coordinator's volume was in a sync at its own position", [fact("sync-begin", 1, 9, 0)]],
    ["another's volume was in a sync at its own", [fact("sync-begin", 2, 20, 1)]],
  ])("lists none when %s", (_, more) => {
    const facts = [...synced, ...more].sort(
      (one, other) => one.session - other.session || one.sequence - other.sequence,
    );
    expect(listed([a, b], facts)).toEqual([]);
    const ends = more.map((each) => fact("sync-end", each.session, each.sequence + 50, each.volume));
    const whole = [...facts, ...ends].sort(
      (one, other) => one.session - other.session || one.sequence - other.sequence,
    );
    const later = barrierAt(at(1, 90), at(1, 80), at(2, 80));
    expect(listed([a, b], whole, [barrier, later])).toEqual(["1-90"]);
  });

  it("lists none that names two sessions of one gateway and none of another", () => {
    const three = { gateways: ["a", "b", "c"] };
    const sessions = [session("a", 1, {}, three), session("b", 2, {}, three), session("b", 3, {}, three)];
    const facts = [...synced, fact("sync-end", 3, 1, 1)];
    expect(listed(sessions, facts, [barrierAt(at(1, 11), at(1, 10), at(2, 20), at(3, 20))])).toEqual([]);
    const whole = [...sessions.slice(0, 2), session("c", 3, { volumes: [1] }, three)];
    expect(listed(whole, facts, [barrierAt(at(1, 11), at(1, 10), at(2, 20), at(3, 20))])).toEqual(["1-11"]);
  });

  it("lists none that names a session whose gateway had another before the coordinator's began", () => {
    const coordinator = session("a", 4, {}, { previous: 1 });
    const follower = session("b", 3, {}, { previous: 2 });
    const facts = [...synced, fact("sync-end", 3, 1, 1), fact("sync-end", 4, 1, 0)];
    const sessions = [a, b, follower, coordinator];
    expect(listed(sessions, facts, [barrierAt(at(4, 11), at(2, 20), at(4, 10))])).toEqual([]);
    expect(listed(sessions, facts, [barrierAt(at(4, 11), at(3, 20), at(4, 10))])).toEqual(["4-11"]);
    // One that began later changes nothing of what stands.
    expect(listed(sessions, facts)).toEqual(["1-11"]);
    expect(listed(sessions, facts, [barrierAt(at(4, 11), at(1, 10), at(3, 20))])).toEqual([]);
  });

  it("continues a gateway's own clean session, whatever ordinals lie between", () => {
    const clean = session("b", 2, { prefixSequence: 30 });
    const goesOn = session("b", 5, { continues: true }, { previous: 2 });
    const later = barrierAt(at(1, 90), at(1, 80), at(5, 1));
    const close = fact("close", 2, 30);
    expect(listed([a, clean, goesOn], [...synced, close], [later])).toEqual(["1-90"]);
    expect(listed([a, clean, goesOn], synced, [later])).toEqual([]);
    expect(
      listed([a, clean, session("b", 5, { continues: true }, { previous: 1 })], [...synced, close], [later]),
    ).toEqual([]);
  });
});
