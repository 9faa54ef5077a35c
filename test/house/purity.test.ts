import { describe, expect, it } from "vitest";
import { areaOf, codeOnly, isTest, read, sources } from "./sources.ts";

/** Ways to the world that core may not take, and the port that gives the same. */
const forbidden: readonly (readonly [RegExp, string])[] = [
  [/\bDate\.now\b/, "Clock.now()"],
  [/\bDate\(\s*\)/, "Clock.now()"],
  [/\bperformance\b/, "Clock.monotonic()"],
  [/\bset(Timeout|Interval|Immediate)\b/, "Clock.sleep()"],
  [/\bMath\.random\b/, "Random.bytes()"],
  [/\b(randomBytes|randomUUID|randomInt|randomFill|getRandomValues)\b/, "Random.bytes()"],
  [/\bulid\(\s*\)/, "an ulid from Clock and Random"],
  [/\bprocess\b/, "values that come in"],
  [/\bconsole\b/, "Log"],
  [/\bfetch\(/, "a port"],
];

function impurities(path: string, source: string): string[] {
  const code = codeOnly(source);
  return forbidden.flatMap(([pattern, cure]) => {
    const [found] = pattern.exec(code) ?? [];
    return found === undefined ? [] : [`${path}: ${found} (take ${cure})`];
  });
}

describe("house: core/", () => {
  it("sees no clock, randomness, environment or console but by its ports", () => {
    const pure = sources.filter((path) => areaOf(path) === "core" && !isTest(path));
    expect(pure.length).toBeGreaterThan(0);
    expect(pure.flatMap((path) => impurities(path, read(path)))).toEqual([]);
  });

  it.each([
    "const at = Date.now();",
    "const at = new Date();",
    "const at = performance.now();",
    "setTimeout(() => undefined, 1);",
    "if (Math.random() < 0.5) return;",
    "const id = randomUUID();",
    "const home = process.env.HOME;",
    "console.log(1);",
  ])("would be caught with: %s", (code) => {
    expect(impurities("core/x.ts", code)).toHaveLength(1);
  });

  it("may speak of them in comments and messages, and make dates of given times", () => {
    const code = '// Date.now()\n/* process.env\n * Math.random() */ const a = "console"; new Date(at).toISOString();';
    expect(impurities("core/x.ts", code)).toEqual([]);
  });
});
