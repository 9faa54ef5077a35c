import { styleText } from "node:util";

/** Where a command writes: columns for people, `--json` for machines; tests give their own. */
export interface Output {
  readonly json: boolean;
  line(text: string): void;
  /** Progress and remarks; not part of a command's result. */
  note(text: string): void;
  readonly terminal: boolean;
}

export function standardOutput(json: boolean): Output {
  return {
    json,
    line: (text) => process.stdout.write(`${text}\n`),
    note: (text) => process.stderr.write(`${text}\n`),
    terminal: process.stderr.isTTY === true,
  };
}

/** The command's result: one JSON document, or what `people` prints. */
export function result(output: Output, value: unknown, people: () => void): void {
  if (output.json) output.line(JSON.stringify(value, null, 2));
  else people();
}

/** Left-aligned columns under a heading; a cell is text already fit for people. */
export function columns(output: Output, heading: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = heading.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => (row[column] ?? "").length)),
  );
  const format = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  output.line(styleText("bold", format(heading), { stream: process.stdout }));
  for (const row of rows) output.line(format(row));
}

/** "label: value" lines, aligned. */
export function fields(output: Output, rows: readonly (readonly [string, string])[]): void {
  const width = Math.max(...rows.map(([label]) => label.length));
  for (const [label, value] of rows) output.line(`${`${label}:`.padEnd(width + 1)} ${value}`);
}

/** ms since the epoch as local ISO-like text in UTC, to the millisecond: `2026-11-21T20:47:00.123Z`. */
export const timeText = (ms: number | null): string => (ms === null ? "-" : new Date(ms).toISOString());

/** One line that is rewritten on a terminal and printed at most every 5 s elsewhere. */
export function progressLine(output: Output): { update(text: string): void; end(): void } {
  let printedAt = 0;
  return {
    update(text) {
      if (output.json) return;
      if (output.terminal) {
        process.stderr.write(`\r\u001b[2K${text}`);
        return;
      }
      const now = Date.now();
      if (now - printedAt < 5000) return;
      printedAt = now;
      output.note(text);
    },
    end() {
      if (output.terminal && !output.json) process.stderr.write("\r\u001b[2K");
    },
  };
}
