import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { type CreateVpg, createVpgSchema } from "#core/api/site-api.ts";
import { holds } from "../test/kit/property.ts";
import { readVpgFile } from "./vpg-file.ts";
import { vpgToml } from "./vpg-toml.ts";

const folder = mkdtempSync(join(tmpdir(), "farshore-toml-"));
afterAll(() => rmSync(folder, { recursive: true }));

const name = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
/** Whole units and odd milliseconds alike. */
const duration = (min: number, max: number) =>
  fc.oneof(
    fc.integer({ min, max }),
    fc.constantFrom(1000, 60_000, 3_600_000, 86_400_000).filter((ms) => ms >= min && ms <= max),
  );
const text = fc.string({ minLength: 20, maxLength: 40, unit: "grapheme" });
const names = fc.array(name, { maxLength: 3 });
const volume = fc.record({
  name,
  sizeBytes: fc.oneof(
    fc.integer({ min: 1, max: 2 ** 36 }).map((n) => n * 512),
    fc.constantFrom(2 ** 30, 2 ** 40),
  ),
  sectorBytes: fc.constantFrom(512, 4096),
});
const trigger = fc.record({
  policy: fc.constantFrom("off", "notify", "approve", "automatic"),
  minimumDurationMs: duration(60_000, 3_600_000),
  coolDownMs: duration(0, 86_400_000),
  approvalExpiryMs: duration(3_600_000, 86_400_000),
  priority: fc.integer({ min: 1, max: 99 }),
  dependsOn: names,
  quorum: fc.constantFrom("all", "any"),
  confirmBy: fc.array(text, { maxLength: 2 }),
  alarms: fc.array(text, { maxLength: 2 }),
  regions: names,
  selfFence: fc.boolean(),
  acceptTwoCopies: fc.option(text),
  shutdown: fc.record({ policy: fc.constantFrom("none", "force"), graceMs: duration(0, 3_600_000) }),
  commitPolicy: fc.oneof(
    fc.constant({ action: "none" }),
    fc.record({ action: fc.constantFrom("commit", "rollback"), afterMs: duration(0, 86_400_000) }),
  ),
  checkpoint: fc.oneof(fc.constant({ kind: "latest" }), fc.record({ kind: fc.constant("tag"), tag: text })),
});
const definition: fc.Arbitrary<CreateVpg> = fc
  .record({
    name,
    protectedSite: name,
    sourceGateway: name,
    recoveryGateway: fc.option(name),
    compute: fc.constantFrom("gateway", "none"),
    targetRpoMs: duration(1000, 86_400_000),
    checkpointIntervalMs: duration(1000, 3_600_000),
    historyMs: duration(60_000, 86_400_000),
    vms: fc.array(
      fc.record(
        {
          name,
          bootGroup: fc.integer({ min: 1, max: 50 }),
          sourceGateway: name,
          volumes: fc.array(volume, { minLength: 1, maxLength: 3 }),
        },
        { requiredKeys: ["name", "bootGroup", "volumes"] },
      ),
      { minLength: 1, maxLength: 3 },
    ),
    bootDelays: fc.array(fc.record({ bootGroup: fc.integer({ min: 1, max: 50 }), delayMs: duration(0, 3_600_000) }), {
      maxLength: 2,
    }),
    trigger,
    retention: fc.record({
      tiers: fc.constantFrom(
        [{ everyMs: 0, forMs: 60_000 }],
        [
          { everyMs: 0, forMs: 90_000 },
          { everyMs: 1500, forMs: 3_600_000 },
        ],
      ),
      taggedMs: duration(60_000, 86_400_000),
      journalLimit: fc.record({
        bytes: fc.integer({ min: 2 ** 26, max: 2 ** 45 }),
        policy: fc.constantFrom("thin", "pause"),
      }),
    }),
    scrub: fc.record(
      { journalBytesPerSecond: fc.integer({ min: 0, max: 500_000 }).map((rate) => rate * 1000) },
      { requiredKeys: [] },
    ),
  })
  .map((made) => createVpgSchema.parse(made));

describe("the file of an exported VPG", () => {
  it("is read again as the very definition it was written from", () =>
    holds(
      fc.property(definition, (made) => {
        const file = join(folder, "vpg.toml");
        writeFileSync(file, vpgToml(made));
        expect(readVpgFile(file)).toEqual(made);
      }),
    ));
});
