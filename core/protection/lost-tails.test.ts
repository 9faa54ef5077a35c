import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { idSchema } from "#core/ids.ts";
import { parsePosition } from "#core/journal/position.ts";
import { LostTails } from "./lost-tails.ts";
import type { Term } from "./term.ts";

const here = idSchema.parse("01k3s1te000000000000000001");
const there = idSchema.parse("01k3s1te000000000000000002");
const operation = (n: number) => idSchema.parse(`01k3s1te0000000000000000${String(n).padStart(2, "0")}`);

/** Term n by this site over its own journal, unless `over` says otherwise; a commit has a fork. */
const term = (n: number, fork: readonly string[], over: Partial<Term> = {}): Term => ({
  formatVersion: 1,
  ...{ vpgId: here, n, minter: here, runs: here, journal: null, parent: n - 1, mintedAt: 0 },
  ...{
    fork: fork.map((id) => ({ ...parsePosition(id) })),
    operationId: fork.length === 0 ? null : operation(n),
    ...over,
  },
});
const first = term(1, [], { runs: "protected", journal: here, parent: 0 });
const at = (id: string, inTerm = 1) => ({ position: parsePosition(id), term: inTerm });
const oneGateway = () => "gw";

describe("what a commit left behind", () => {
  it("is what its source had beyond the recovered checkpoint, of older terms", () => {
    const tails = new LostTails(here, [first, term(2, ["3-20"])], oneGateway);
    const owners = ["2-99", "3-19", "3-20", "3-21", "4-1"].map((id) => tails.ownerOf(at(id)));
    expect(owners).toEqual([undefined, undefined, undefined, operation(2), operation(2)]);
    expect(tails.ownerOf(at("5-1", 3))).toBeUndefined();
  });

  it("is each commit's own, over the whole cycle", () => {
    // T3 was journaled at the other site, T5 here again: its commit is T6.
    const cycle = [
      ...[first, term(2, ["3-20"]), term(3, [], { journal: there })],
      ...[term(4, ["1-7"], { minter: there, runs: there }), term(5, [], { runs: there, journal: here })],
      term(6, ["9-50"]),
    ];
    const tails = new LostTails(here, cycle, oneGateway);
    expect(tails.ownerOf(at("3-21"))).toBe(operation(2));
    expect(tails.ownerOf(at("9-50", 5))).toBeUndefined();
    expect(tails.ownerOf(at("9-51", 5))).toBe(operation(6));
    // The other site's fork is of its own sessions and says nothing of this site's.
    expect(tails.ownerOf(at("3-19"))).toBeUndefined();
  });

  it("is as old as this site's newest commit, whatever terms came since", () => {
    const forkedAt = (...terms: Term[]) => new LostTails(here, terms, oneGateway).forkedAt;
    const back = { runs: there, journal: here, mintedAt: 30 };
    expect(forkedAt(first, term(2, [], { ...back, minter: there }))).toBeUndefined();
    expect(forkedAt(first, term(2, ["3-20"], { mintedAt: 10 }), term(3, [], back))).toBe(10);
  });

  it("is told gateway by gateway where there are several", () => {
    const gatewayOf = (session: number) => (session % 2 === 0 ? "b" : "a");
    const tails = new LostTails(here, [first, term(2, ["3-20", "6-5"])], gatewayOf);
    expect([at("3-20"), at("3-21"), at("5-1"), at("6-5"), at("4-99")].map((one) => tails.ownerOf(one))).toEqual([
      ...[undefined, operation(2), operation(2), undefined, undefined],
    ]);
  });

  it("and the history share no checkpoint, and lack none", () => {
    const position = fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 50 }));
    fc.assert(
      fc.property(position, position, ([s, q], [fs, fq]) => {
        const tails = new LostTails(here, [first, term(2, [`${fs}-${fq}`])], oneGateway);
        const checkpoint = at(`${s}-${q}`);
        const taken = [undefined, operation(2), operation(3)].filter((tail) => tails.takes(checkpoint, tail));
        expect(taken).toEqual([s > fs || (s === fs && q > fq) ? operation(2) : undefined]);
      }),
    );
  });
});
