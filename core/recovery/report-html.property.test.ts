import fc from "fast-check";
import { expect, it } from "vitest";
import { type CheckpointSelector, operationKinds, phases } from "#core/protection/operation.ts";
import { holds } from "../../test/kit/property.ts";
import { liveReport } from "../../test/kit/reports.ts";
import { parseStrict, skeletonOf, textsOf } from "../../test/kit/strict-markup.ts";
import type { Report } from "./report.ts";
import { reportHtml } from "./report-html.ts";

const breakingOut = [
  ...["<script>alert(1)</script>", "</td></tr></table>", "</style><img src=x onerror=alert(1)>", "<!--", "-->", "]]>"],
  ...[
    '" onmouseover="alert(1)',
    "' x='",
    "&",
    "&amp;",
    "&lt;b&gt;",
    "&#60;b&#62;",
    "&#x3c;",
    "<",
    ">",
    "</",
    "<?xml ?>",
  ],
  ...[
    "\0",
    "\u0001\u001f\u007f\u0085",
    "\r",
    "\r\n",
    "\ud800",
    "a\udfffb",
    "\ufffe\uffff",
    "\u{1ffff}",
    "\u202e<b>\u2066",
  ],
  ...["`", "\\u003cb>", "javascript:alert(1)", "\ufeff", "+ADw-script+AD4-", "\u2028", "", "__proto__", "constructor"],
];
/** An arrow parts an error from what to do next, and so makes a row of its own. */
const text = fc
  .oneof(fc.constantFrom(...breakingOut), fc.string(), fc.string({ unit: "binary", maxLength: 30 }))
  .filter((one) => !one.includes("→"));

const int = fc.oneof(fc.maxSafeInteger(), fc.integer());
const few = fc.integer({ min: 0, max: 3 });
const shape = fc.record({
  ...{
    kind: fc.constantFrom(...operationKinds),
    phase: fc.constantFrom(...phases),
    numbers: fc.array(int, { minLength: 9, maxLength: 9 }),
  },
  ...{ selector: fc.constantFrom("id", "tag", "time", "latest"), options: fc.constantFrom("live", "test", "none") },
  ...{ certainty: fc.constantFrom("exact", "at-least"), state: fc.constantFrom("done", "failed") },
  ...{ incident: fc.boolean(), decision: fc.boolean(), error: fc.boolean(), lost: fc.boolean(), nulls: fc.boolean() },
  ...{ steps: few, evidence: few, vms: few, volumes: few, exports: few, success: fc.constantFrom(true, false, null) },
});
type Shape = typeof shape extends fc.Arbitrary<infer S> ? S : never;

/** A report of the shape, every free text of which is the next one. */
function reportOf(shape: Shape, next: () => string): Report {
  const { kind, phase, numbers, nulls, success, selector } = shape;
  const number = (index: number) => numbers[index] ?? 0;
  const list = <T>(length: number, one: (index: number) => T): T[] => Array.from({ length }, (_, index) => one(index));
  const error = () => ({ name: next(), message: next() });
  const checkpoint = (): CheckpointSelector => {
    if (selector === "latest") return { kind: selector };
    if (selector === "time") return { kind: selector, time: number(0) };
    return selector === "id" ? { kind: selector, id: next() } : { kind: selector, tag: next() };
  };
  return {
    ...{ ...liveReport, kind, phase, attempt: number(1), vpgName: next(), protectedSite: next(), recoverySite: next() },
    initiatedBy: next(),
    incident: shape.incident
      ? {
          ...{ incidentId: liveReport.vpgId, reason: next(), evidence: list(shape.evidence, next) },
          approval: nulls ? null : { by: next(), at: number(0), notes: next() },
        }
      : null,
    live:
      shape.options === "live"
        ? {
            checkpoint: checkpoint(),
            shutdown: { policy: "force", graceMs: number(2) },
            commitPolicy: { action: "rollback", afterMs: number(2) },
          }
        : null,
    test: shape.options === "test" ? { checkpoint: checkpoint() } : null,
    ...{ startedAt: number(3), endedAt: number(4), term: number(5), rtoMs: nulls ? null : number(6) },
    ...{
      checkpointId: nulls ? null : next(),
      checkpointTime: nulls ? null : number(7),
      version: nulls ? null : next(),
    },
    decision: shape.decision ? { decision: "stop", by: next(), at: number(8), success, notes: next() } : null,
    lostTail: shape.lost ? { certainty: shape.certainty, ms: number(2), writes: number(1), bytes: number(0) } : null,
    lostTailText: next(),
    error: shape.error ? error() : null,
    retargets: list(shape.vms, (index) => ({
      ...{
        number: index + 2,
        requestId: liveReport.vpgId,
        checkpointId: next(),
        checkpointTime: number(7),
        by: next(),
      },
      ...{ at: number(3), from: { checkpointId: next(), checkpointTime: number(0) }, switchedAt: null },
      ...{ rtoMs: nulls ? null : number(6), error: shape.error ? error() : null },
    })),
    checkpointTags: nulls ? null : list(shape.steps, next),
    syncFigures: nulls
      ? null
      : {
          hashedBytes: number(0),
          differingBytes: number(1),
          shippedBytes: number(2),
          pages: 1,
          pagesAlone: 0,
          ends: [],
        },
    verdicts: list(shape.evidence, (index) => ({ name: next(), ok: index % 2 === 0, text: next() })),
    steps: list(shape.steps, () => ({
      ...{ step: next(), state: shape.state, startedAt: number(3), endedAt: number(4), durationMs: number(4) },
      ...{ result: next(), error: shape.state === "failed" ? error() : null },
    })),
    exports: list(shape.exports, (index) => ({ vm: next(), volume: next(), number: index, uri: next() })),
    vms: nulls
      ? null
      : list(shape.vms, (vm) => ({
          ...{ name: next(), bootGroup: number(1) },
          volumes: list(shape.volumes, (volume) => ({ name: next(), number: 2 * vm + volume, sizeBytes: number(2) })),
        })),
  };
}

it("no text of a report ever becomes markup, and none is lost", async () => {
  await holds(
    fc.property(shape, fc.array(text, { minLength: 1, maxLength: 12 }), (made, texts) => {
      let given = 0;
      const page = reportHtml(reportOf(made, () => texts[given++ % texts.length] ?? ""));
      const root = parseStrict(page);
      expect(skeletonOf(root)).toBe(skeletonOf(parseStrict(reportHtml(reportOf(made, () => "plain")))));
      const read = textsOf(root);
      // The name of the VPG, the two sites and who asked stand in every report.
      for (const one of texts.slice(0, 4)) {
        if (/^[\x20-\x7e]*$/.test(one))
          expect(
            read.some((part) => part.includes(one)),
            one,
          ).toBe(true);
      }
    }),
    { numRuns: 300 },
  );
});
