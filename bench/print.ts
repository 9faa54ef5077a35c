import type { Aim, Figure, FindingsRecord, Goal, Metric, Ratio, Spread } from "./findings.ts";

/** Findings as lines for a terminal: one table a scenario, then ratios with their aims, limits, remarks. */
export function linesOf({ figures, ratios, goals, limits, remarks }: FindingsRecord): string[] {
  const scenarios = [...new Set(figures.map((figure) => figure.scenario))];
  const tables = scenarios.flatMap((scenario) => ["", ...table(scenario, figures)]);
  const ratioLines = ratios.length === 0 ? [] : ["", "  Ratios (round by round)", ...ratios.map(ratioLine)];
  const goalLines = goals.length === 0 ? [] : ["", "  Aims", ...goals.map(goalLine)];
  const listed = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? [] : ["", `  ${title}`, ...lines.map((line) => `    ${line}`)];
  return [
    ...tables,
    ...ratioLines,
    ...goalLines,
    ...listed("Limits of this machine", limits),
    ...listed("Why", remarks),
  ];
}

function table(scenario: string, figures: readonly Figure[]): string[] {
  const here = figures.filter((figure) => figure.scenario === scenario);
  const subjects = [...new Set(here.map((figure) => figure.subject))];
  const metrics = [...new Map(here.map((figure) => [figure.metric.label, figure.metric])).values()];
  const head = [scenario, ...metrics.map((metric) => `${metric.label} ${metric.unit}`.trim())];
  const rows = subjects.map((subject) => [
    subject,
    ...metrics.map((metric) => {
      const figure = here.find((each) => each.subject === subject && each.metric.label === metric.label);
      return figure === undefined ? "" : spreadText(figure, metric);
    }),
  ]);
  return columns([head, ...rows]).map((line) => `  ${line}`);
}

/** First column to the left, figures to the right. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("   ")
      .trimEnd(),
  );
}

/** median (min–max), the range only when there were several rounds. */
function spreadText({ median, min, max, values }: Spread, metric: Pick<Metric, "digits">): string {
  const text = (value: number): string => value.toFixed(metric.digits ?? 0);
  return values.length < 2 ? text(median) : `${text(median)} (${text(min)}–${text(max)})`;
}

function ratioLine(ratio: Ratio): string {
  const figure = spreadText(ratio, { digits: 2 });
  return `    ${ratio.scenario}, ${ratio.metric}: ${ratio.of} / ${ratio.to} = ${figure}${aimText(ratio.median, ratio.aim)}`;
}

function goalLine({ scenario, subject, metric, aim, median }: Goal): string {
  const figure = `${median.toFixed(metric.digits ?? 0)} ${metric.unit}`.trim();
  return `    ${scenario}, ${subject}: ${metric.label} ${figure}${aimText(median, aim)}`;
}

function aimText(value: number, aim: Aim | undefined): string {
  if (aim === undefined) return "";
  const { atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY } = aim;
  const words = aim.atLeast === undefined ? `≤ ${aim.atMost}` : `≥ ${aim.atLeast}`;
  return `, aim ${words}: ${value >= atLeast && value <= atMost ? "reached" : "missed"}`;
}
