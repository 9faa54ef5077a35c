import { isLive, type SyncFigures, syncedLines } from "#core/protection/operation.ts";
import { formatBytes, formatDuration } from "#core/units.ts";
import { deciders } from "./decide.ts";
import { recoveryLimits as limits } from "./limits.ts";
import { type Content, type Markup, markup } from "./markup.ts";
import { messageAndNext } from "./next-verb.ts";
import type { Report } from "./report.ts";
import { askedRows } from "./report-options.ts";
import { reportStyle } from "./report-style.ts";
import { type Cut, clock, cutTo, factTable, type Row, rowsOf, table } from "./report-tables.ts";

/** What the page may do, said in it and by the site that serves it: show itself, and nothing else. */
export const reportPolicy = "default-src 'none'; style-src 'unsafe-inline'";

/**
 * A report as a page that needs nothing else: no script, nothing loaded, to be read on a screen or printed. It says what the
 * report says and where that says nothing, that it does. The same report gives the same page, of at most
 * `reportHtmlBytesMax` bytes: texts and tables that are longer than fits say how much of them stands in the JSON alone.
 */
export function reportHtml(report: Report): string {
  let page = "";
  for (const charactersMax of limits.reportTextCharacters) {
    page = `<!DOCTYPE html>\n${pageOf(report, cutTo(charactersMax)).text}\n`;
    if (new TextEncoder().encode(page).length <= limits.reportHtmlBytesMax) return page;
  }
  return page;
}

function pageOf(report: Report, cut: Cut): Markup {
  const title = `${report.kind} of ${cut(report.vpgName)}: ${verdictOf(report).text}`;
  return markup`<html xmlns="http://www.w3.org/1999/xhtml" lang="en">
<head>
<meta charset="utf-8"/>
<meta http-equiv="Content-Security-Policy" content="${reportPolicy}"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>${title}</title>
<style>${reportStyle}</style>
</head>
<body>
<main>
<header>
<h1>${report.kind} of ${cut(report.vpgName)}</h1>
${verdict(report)}
</header>
${sectionsOf(report, cut)}
<footer>
<p>Made of the JSON report of attempt ${report.attempt}, which is what counts. “Not recorded” is what that does not hold. All times are UTC.</p>
<p>Farshore ${report.version === null ? "of a version that was not recorded" : cut(report.version)}</p>
</footer>
</main>
</body>
</html>`;
}

function sectionsOf(report: Report, cut: Cut): readonly Markup[] {
  const { error, incident, decision } = report;
  return [
    section("Operation", factTable(operationRows(report, cut))),
    section("Who asked", [
      factTable(whoRows(report, cut)),
      incident === null || incident.evidence.length === 0
        ? ""
        : table(
            ["Evidence"],
            rowsOf(incident.evidence, (line) => [cut(line)]),
          ),
    ]),
    section("What was asked", factTable(askedRows(report, cut))),
    section("Checkpoint", factTable(checkpointRows(report, cut))),
    ...(report.retargets.length === 0 ? [] : [section("Tries", tryTable(report, cut))]),
    ...(bringsUp(report) ? [section("What was reached", factTable(reachedRows(report, cut)))] : []),
    ...syncSections(report),
    ...(report.verdicts.length === 0 ? [] : [section("Verdicts", verdictTable(report, cut))]),
    ...(error === null ? [] : [section("Error", factTable(errorRows(error, cut)))]),
    section("Decision", decision === null ? markup`<p>None was recorded.</p>` : factTable(decisionRows(decision, cut))),
    section("Steps", stepTable(report, cut)),
    section("VMs and volumes", volumeTable(report, cut)),
  ];
}

const section = (heading: string, content: Content): Markup =>
  markup`<section>\n<h2>${heading}</h2>\n${content}\n</section>\n`;

interface Verdict {
  readonly text: string;
  readonly good: boolean | null;
}

function verdictOf({ phase, kind, decision }: Report): Verdict {
  switch (phase) {
    case "Failed":
      return { text: "failed", good: false };
    case "RolledBack":
      return { text: "rolled back", good: null };
    case "Completed":
      if (isLive({ kind })) return { text: "committed", good: true };
      if (kind !== "failover-test") return { text: "completed", good: true };
      if (decision === null || decision.success === null) return { text: "stopped without a verdict", good: null };
      return decision.success ? { text: "succeeded", good: true } : { text: "did not succeed", good: false };
    default:
      return { text: phase, good: null };
  }
}

function verdict(report: Report): Markup {
  const { text, good } = verdictOf(report);
  const sentence = `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
  if (good === null) return markup`<p>${sentence}</p>`;
  return good ? markup`<p class="good">${sentence}</p>` : markup`<p class="bad">${sentence}</p>`;
}

const operationRows = (report: Report, cut: Cut): readonly Row[] => [
  ["Operation", report.operationId],
  ["Kind", report.kind],
  ["Attempt", report.attempt],
  ["Ended as", report.phase],
  ["VPG", `${cut(report.vpgName)} (${report.vpgId})`],
  ["Protected site", cut(report.protectedSite)],
  ["Recovery site", cut(report.recoverySite)],
  ["Term at the end", report.term],
  ["Started", clock(report.startedAt)],
  ["Ended", clock(report.endedAt)],
  ["Took", formatDuration(report.endedAt - report.startedAt)],
];

function whoRows({ initiatedBy, incident }: Report, cut: Cut): readonly Row[] {
  const who: Row = ["Initiated by", cut(initiatedBy)];
  if (incident === null) return [who];
  return [who, ["Incident", incident.incidentId], ["Because", cut(incident.reason)], ...approvalRows(incident, cut)];
}

function approvalRows({ approval }: NonNullable<Report["incident"]>, cut: Cut): readonly Row[] {
  if (approval === null) return [];
  const notes: Row = ["Notes of the approval", approval.notes === "" ? "none" : cut(approval.notes)];
  return [["Approved by", cut(approval.by)], ["Approved at", clock(approval.at)], notes];
}

const checkpointRows = ({ checkpointId, checkpointTime, checkpointTags }: Report, cut: Cut): readonly Row[] => [
  ["Checkpoint", checkpointId === null ? "none was chosen" : cut(checkpointId)],
  ["Time at the source", checkpointTime === null ? "not recorded" : clock(checkpointTime)],
  [
    "Tags",
    checkpointTags === null ? "not recorded" : checkpointTags.length === 0 ? "none" : cut(checkpointTags.join(", ")),
  ],
];

/** The checkpoints that were asked for before the commit, the first one included. */
function tryTable({ retargets, initiatedBy, startedAt, rtoMs }: Report, cut: Cut): Markup {
  const [second] = retargets;
  const first = { number: 1, ...second?.from, by: initiatedBy, at: startedAt, rtoMs, error: null };
  return table(
    ["Try", "Checkpoint", "Time at the source", "Asked by", "Asked at", "Up after"],
    rowsOf([first, ...retargets], ({ number, checkpointId = "", checkpointTime = 0, by, at, rtoMs: ms, error }) => [
      number,
      cut(checkpointId),
      clock(checkpointTime),
      cut(by),
      clock(at),
      error === null
        ? ms === null
          ? "not reached"
          : formatDuration(ms)
        : markup`<span class="bad">${cut(error.name)}</span>: ${cut(error.message)}`,
    ]),
  );
}

/** The others have no RTO, and an RPO of nothing. */
const bringsUp = ({ kind }: Report): boolean => isLive({ kind }) || kind === "failover-test";

function reachedRows(report: Report, cut: Cut): readonly Row[] {
  const { rtoMs, lostTail, lostTailText, sourceLeftOff } = report;
  const rto: Row = ["RTO", rtoMs === null ? "not reached" : formatDuration(rtoMs)];
  const source: readonly Row[] = sourceLeftOff
    ? [["Source", "left off: it was silent, and is powered on once it is heard again"]]
    : [];
  if (lostTail === null) {
    const why = unmeasured(report);
    return [rto, ["RPO", why], ["Not recovered", why], ...source];
  }
  const least = lostTail.certainty === "exact" ? "" : "unknown, at least ";
  return [
    rto,
    ["RPO", `${least}${formatDuration(lostTail.ms)}`],
    ["Writes not recovered", `${least}${lostTail.writes}`],
    ["Journal bytes not recovered", `${least}${lostTail.bytes} (${formatBytes(lostTail.bytes)})`],
    ["In words", cut(lostTailText)],
    ...source,
  ];
}

function unmeasured({ kind, phase }: Report): string {
  if (kind === "failover-test") return "not measured by a test";
  return phase === "RolledBack" ? "not measured: nothing was committed" : "not recorded: a commit measures it";
}

/** A section for each sync of the operation. */
function syncSections(report: Report): readonly Markup[] {
  const bytes = (count: number): string => `${count} bytes (${formatBytes(count)})`;
  return syncedLines(report).map(([name, { hashedBytes, differingBytes, shippedBytes }]) =>
    section(
      name === "Sync" ? name : `Sync: ${name.toLowerCase()}`,
      factTable([
        ["Hashed", bytes(hashedBytes)],
        ["In differing chunks", bytes(differingBytes)],
        ["Shipped", bytes(shippedBytes)],
        ...(name === "Sync" && report.syncFigures !== null ? [pagesRow(report.syncFigures)] : []),
      ]),
    ),
  );
}

const pagesRow = ({ pages, pagesAlone }: SyncFigures): Row => [
  "Pages compared",
  `${pages} by the site, ${pagesAlone} by gateways alone`,
];

const verdictTable = ({ verdicts }: Report, cut: Cut): Markup =>
  table(
    ["What", "Verdict", "In words"],
    rowsOf(verdicts, ({ name, ok, text }) => [
      cut(name),
      ok ? markup`<span class="good">proved</span>` : markup`<span class="bad">not proved</span>`,
      cut(text),
    ]),
  );

function errorRows(error: NonNullable<Report["error"]>, cut: Cut): readonly Row[] {
  const { message, next } = messageAndNext(error.message);
  const rows: readonly Row[] = [
    ["Error", cut(error.name)],
    ["Message", cut(message)],
  ];
  return next === "" ? rows : [...rows, ["What to do next", cut(next)]];
}

const decidersInWords: ReadonlyMap<string, string> = new Map([
  [deciders.policy, "the commit policy, when its time was over"],
  [deciders.reconciler, "the reconciler, because the workflow ended from outside"],
]);

/** It undoes what failed, and goes on with a reverse protection once the peer has taken the offer. */
const workflowInWords = (decision: string): string =>
  decision === "commit" ? "the workflow, as was asked for" : "the workflow, because something failed";

function decisionRows({ decision, by, at, success, notes }: NonNullable<Report["decision"]>, cut: Cut) {
  const words = by === deciders.workflow ? workflowInWords(decision) : decidersInWords.get(by);
  const rows: readonly Row[] = [
    ["Decision", decision],
    ["By", words === undefined ? cut(by) : `${by}: ${words}`],
    ["At", clock(at)],
    ["Notes", notes === "" ? "none" : cut(notes)],
  ];
  return success === null ? rows : [...rows, ["Test succeeded", success ? "yes" : "no"] satisfies Row];
}

function stepTable({ steps }: Report, cut: Cut): Markup {
  if (steps.length === 0) return markup`<p>None was begun.</p>`;
  return table(
    ["Step", "State", "Started", "Took", "Result"],
    rowsOf(steps, ({ step, state, startedAt, durationMs, result, error }) => [
      cut(step),
      state === "failed" ? markup`<span class="bad">${state}</span>` : state,
      clock(startedAt),
      durationMs === null ? "not ended" : formatDuration(durationMs),
      error === null ? cut(result) : markup`<strong>${cut(error.name)}</strong>: ${cut(error.message)}`,
    ]),
  );
}

/** A row for each volume of the VPG; of a report that did not keep those, for each that was exported. */
function volumeTable({ vms, exports }: Report, cut: Cut): Markup {
  const uriOf = new Map(exports.map(({ number, uri }) => [number, uri]));
  const defined = (vms ?? []).flatMap(({ name: vm, bootGroup, volumes }) =>
    volumes.map(({ name, number, sizeBytes }) => ({ vm, bootGroup, name, number, sizeBytes: formatBytes(sizeBytes) })),
  );
  const known = new Set(defined.map(({ number }) => number));
  const onlyExported = exports
    .filter(({ number }) => !known.has(number))
    .map(({ vm, volume, number }) => ({
      ...{ vm, name: volume, number },
      ...{ bootGroup: "not recorded", sizeBytes: "not recorded" },
    }));
  const rows = [...defined, ...onlyExported];
  const note = vms === null ? markup`<p>Only volumes that were exported were recorded.</p>\n` : "";
  if (rows.length === 0) return markup`${note}<p>None.</p>`;
  return markup`${note}${table(
    ["VM", "Boot group", "Volume", "Number", "Size", "Recovered disk"],
    rowsOf(rows, ({ vm, bootGroup, name, number, sizeBytes }) => {
      const uri = uriOf.get(number);
      return [cut(vm), bootGroup, cut(name), number, sizeBytes, uri === undefined ? "none" : cut(uri)];
    }),
  )}`;
}
