import { afterEach, describe, expect, it } from "vitest";
import { MemoryObjects } from "#adapters/embedded/memory-objects.ts";
import { Transient } from "#core/errors.ts";
import { reportKey, reportPrefix } from "#core/journal/keys.ts";
import { jsonBytes } from "#core/json.ts";
import type { Objects } from "#core/ports.ts";
import { protectShop } from "../../test/kit/failover-site.ts";
import { FailoverWorld, operationId } from "../../test/kit/failover-world.ts";
import { liveReport, testReport } from "../../test/kit/reports.ts";
import { makeSite, operator } from "../../test/kit/site.ts";
import { decide } from "./decide.ts";
import { endOperation } from "./end-operation.ts";
import { getOperation } from "./operation-store.ts";
import { readReport, readReportHtml, storeReport } from "./report.ts";
import { reportHtml } from "./report-html.ts";

const { vpgId } = liveReport;
const keyOf = (attempt: number, form: "json" | "html") => reportKey(vpgId, liveReport.operationId, attempt, form);
const textOf = async (objects: Objects, key: string) => new TextDecoder().decode(await objects.get(key));

describe("storeReport", () => {
  it("puts the page beside the report, and changes neither when asked again with another", async () => {
    const site = makeSite();
    await storeReport(site, liveReport);
    expect(await storeReport(site, { ...liveReport, endedAt: 1 })).toEqual(liveReport);
    const keys = (await site.objects.list(reportPrefix(vpgId, liveReport.operationId))).map(({ key }) => key);
    expect(keys).toEqual([keyOf(1, "html"), keyOf(1, "json")]);
    expect(await textOf(site.objects, keyOf(1, "html"))).toBe(reportHtml(liveReport));
    expect(await readReport(site, vpgId, liveReport.operationId)).toEqual(liveReport);
  });

  it("makes the page of the report that stands, when its first maker was killed in between", async () => {
    const site = makeSite();
    await site.objects.put(keyOf(1, "json"), jsonBytes(liveReport), { ifAbsent: true });
    await storeReport(site, { ...liveReport, endedAt: 1 });
    expect(await textOf(site.objects, keyOf(1, "html"))).toBe(reportHtml(liveReport));
  });
});

describe("readReportHtml", () => {
  it("is the last attempt's, as stored", async () => {
    const site = makeSite();
    await storeReport(site, liveReport);
    await storeReport(site, testReport);
    expect(await readReportHtml(site, vpgId, liveReport.operationId)).toBe(reportHtml(testReport));
  });

  it("is made of a report that has no page of its own, not taken from another attempt's", async () => {
    const site = makeSite();
    await storeReport(site, liveReport);
    await site.objects.put(keyOf(2, "json"), jsonBytes(testReport), { ifAbsent: true });
    expect(await readReportHtml(site, vpgId, liveReport.operationId)).toBe(reportHtml(testReport));
  });

  it("is not there while the operation runs", async () => {
    await expect(readReportHtml(makeSite(), vpgId, operationId)).rejects.toMatchObject({ name: "NotFound" });
  });
});

/** A bucket that refuses pages while `broken`. */
class PagelessObjects extends MemoryObjects {
  broken = true;

  override put(...[key, body, options]: Parameters<MemoryObjects["put"]>) {
    if (this.broken && key.endsWith(".html")) return Promise.reject(new Transient("no pages now"));
    return super.put(key, body, options);
  }
}

const worlds: FailoverWorld[] = [];
afterEach(() => {
  for (const world of worlds.splice(0)) world.close();
});

it("is whole before the operation ends: who ends it again makes the page of the report that stands", async () => {
  const world = new FailoverWorld(await protectShop(), {
    ask: { kind: "failover-test", options: { checkpoint: { kind: "tag", tag: "before" } } },
  });
  worlds.push(world);
  await world.run(async () => (await world.operation())?.phase === "TestRunning");
  const objects = new PagelessObjects();
  const { site, vpg } = world.shop;
  for (const { key } of await site.objects.list("")) await objects.put(key, await site.objects.get(key));
  const half = { ...world.outside, objects };
  await decide(half, operator, operationId, { decision: "stop", success: true, notes: "<good>" });
  await expect(endOperation(half, operationId)).rejects.toMatchObject({ name: "Transient" });
  expect(await getOperation(half, operationId)).toMatchObject({ endedAt: null });
  const first = await readReport(half, vpg.vpgId, operationId);

  objects.broken = false;
  await world.shop.clock.advance(60_000);
  await endOperation(half, operationId);
  const page = await textOf(objects, reportKey(vpg.vpgId, operationId, 1, "html"));
  expect(page).toBe(reportHtml(first));
  expect(page).toContain("by its tag, before");
  expect(first.checkpointTags).toEqual(["before"]);
  expect(first.vms?.map(({ name }) => name)).toEqual(["db", "web"]);
});
