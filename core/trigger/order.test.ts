import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { holds } from "../../test/kit/property.ts";
import { type Candidate, checkDependencies, nextStarts, type Standing } from "./order.ts";

const one = (name: string, priority = 50, dependsOn: string[] = []): Candidate => ({ name, priority, dependsOn });
const standings = (of: Record<string, Standing>) => (name: string) => of[name] ?? "free";

describe("nextStarts", () => {
  it("takes priority first, then the name, as many as may run at once", () => {
    const all = [one("c", 1), one("b", 50), one("a", 50), one("d", 2)];
    const { start, waits } = nextStarts(all, () => "pending", 3);
    expect(start).toEqual(["c", "d", "a"]);
    expect([...waits.keys()]).toEqual(["b"]);
  });

  it("counts those that are being brought up", () => {
    const all = [one("a"), one("b"), one("c")];
    expect(nextStarts(all, standings({ a: "running", b: "pending", c: "pending" }), 2).start).toEqual(["b"]);
  });

  it.each<[Standing, readonly string[]]>([
    ["free", ["b"]],
    ["up", ["b"]],
    ["held", []],
    ["running", []],
    ["failed", []],
  ])("what depends on one that is %s", (standing, start) => {
    const found = nextStarts([one("a"), one("b", 50, ["a"])], standings({ a: standing, b: "pending" }), 4);
    expect(found.start).toEqual(start);
    expect(found.blocked.has("b")).toBe(standing === "failed");
  });

  it("stops everything behind a failure and nothing beside it", () => {
    const all = [one("c", 1, ["b"]), one("b", 1, ["a"]), one("a"), one("x")];
    const found = nextStarts(all, standings({ a: "failed", b: "pending", c: "pending", x: "pending" }), 4);
    expect(found.start).toEqual(["x"]);
    expect([...found.blocked.keys()].sort()).toEqual(["b", "c"]);
  });

  it("comes to an end with each either started after all it depends on, or blocked by a failure", async () => {
    const names = ["a", "b", "c", "d", "e", "f"];
    const plan = fc.tuple(
      ...names.map((name, index) =>
        fc.record({
          name: fc.constant(name),
          priority: fc.integer({ min: 1, max: 3 }),
          dependsOn: fc.subarray(names.slice(0, index)),
        }),
      ),
    );
    await holds(
      fc.property(plan, fc.subarray(names), fc.integer({ min: 1, max: 3 }), (all, failing, concurrency) => {
        const now = new Map<string, Standing>(names.map((name) => [name, "pending"]));
        const standing = (name: string): Standing => now.get(name) ?? "free";
        for (let round = 0; round < 20; round += 1) {
          for (const [name, is] of now) if (is === "running") now.set(name, failing.includes(name) ? "failed" : "up");
          const { start } = nextStarts(all, standing, concurrency);
          expect(start.length).toBeLessThanOrEqual(concurrency);
          for (const name of start) {
            expect(all.find((entry) => entry.name === name)?.dependsOn.every((other) => now.get(other) === "up")).toBe(
              true,
            );
            now.set(name, "running");
          }
        }
        const { blocked } = nextStarts(all, standing, concurrency);
        for (const [name, is] of now) expect(is === "pending").toBe(blocked.has(name));
      }),
    );
  });
});

describe("checkDependencies", () => {
  const known = [one("a", 50, ["shop"]), one("b", 50, ["a"]), one("c")];
  it.each([
    ["itself", ["shop"], /wait for itself/],
    ["itself by way of others", ["b"], /wait for itself/],
    ["one that isn't there", ["nothing"], /no VPG "nothing"/],
  ])("refuses a VPG that depends on %s", (_case, dependsOn, message) => {
    expect(() => checkDependencies(one("shop", 50, dependsOn), known)).toThrow(message);
  });

  it("takes what goes in no circle", () => {
    expect(() => checkDependencies(one("shop", 50, ["c"]), known)).not.toThrow();
  });
});
