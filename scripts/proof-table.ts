import { z } from "zod";

/** One test as it ended. A file that couldn't be loaded or a hook that failed counts as a failed test. */
export interface TestOutcome {
  readonly project: string;
  readonly file: string;
  /** The outermost `describe`, or the file when there is none. */
  readonly group: string;
  readonly name: string;
  readonly state: "passed" | "failed" | "skipped";
  /** What `context.skip(note)` was told. */
  readonly note?: string;
}

/** test/allowed-skips.json: which tests may be skipped, on which machines. */
export const allowedSkipsSchema = z.array(
  z.strictObject({
    /** A regular expression over `project > file > full name`. */
    test: z.string(),
    /** A regular expression over the note that the test gives. */
    note: z.string(),
    /** What a person does to have the tests run. */
    enable: z.string(),
    /** How many tests may be skipped by this entry. */
    most: z.int().positive(),
    /** Whether they may be skipped in .ci/run as well, which installs all that can be installed. */
    inCi: z.boolean(),
  }),
);
export type AllowedSkips = z.infer<typeof allowedSkipsSchema>;

export interface Proof {
  readonly lines: readonly string[];
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface Row {
  readonly project: string;
  readonly group: string;
  proved: number;
  failed: number;
  readonly skips: Map<string, number>;
}

/**
 * The table of what was proved and what was skipped, why, and how to enable it. A skip without a note, or that the list
 * doesn't allow, or beyond an entry's number, counts as failed.
 */
export function proofTable(outcomes: readonly TestOutcome[], allowed: AllowedSkips, inCi: boolean): Proof {
  const rows = new Map<string, Row>();
  const wrong: string[] = [];
  const used = allowed.map(() => 0);
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const outcome of outcomes) {
    const id = `${outcome.project} > ${outcome.file} > ${outcome.name}`;
    const key = `${outcome.project}\0${outcome.group}`;
    const row = rows.get(key) ?? {
      project: outcome.project,
      group: outcome.group,
      proved: 0,
      failed: 0,
      skips: new Map(),
    };
    rows.set(key, row);
    if (outcome.state !== "skipped") {
      counts[outcome.state]++;
      row[outcome.state === "passed" ? "proved" : "failed"]++;
      if (outcome.state === "failed") wrong.push(`failed: ${id}`);
      continue;
    }
    const place = allowed.findIndex((entry) => allows(entry, id, outcome.note, inCi));
    const entry = allowed[place];
    used[place] = (used[place] ?? 0) + 1;
    if (entry === undefined || (used[place] ?? 0) > entry.most) {
      counts.failed++;
      row.failed++;
      const reason = outcome.note === undefined ? "it gives no reason" : outcome.note;
      wrong.push(`skipped, and test/allowed-skips.json doesn't allow it (${reason}): ${id}`);
      continue;
    }
    counts.skipped++;
    const reason = `${outcome.note ?? ""}\0${entry.enable}`;
    row.skips.set(reason, (row.skips.get(reason) ?? 0) + 1);
  }
  return { ...counts, lines: [...tableLines(sortedByGroup([...rows.values()])), ...wrong.map((line) => `  ${line}`)] };
}

/** Projects as they ran, groups by name: files end in an order of their own on each run. */
function sortedByGroup(rows: readonly Row[]): Row[] {
  const projects = Map.groupBy(rows, ({ project }) => project);
  return [...projects.values()].flatMap((of) => of.sort((left, right) => (left.group < right.group ? -1 : 1)));
}

function allows(entry: AllowedSkips[number], id: string, note: string | undefined, inCi: boolean): boolean {
  if (note === undefined || (inCi && !entry.inCi)) return false;
  return new RegExp(entry.test).test(id) && new RegExp(entry.note).test(note);
}

function tableLines(rows: readonly Row[]): string[] {
  const cells = rows.flatMap((row) => {
    const proved = [row.proved > 0 ? `${row.proved} proved` : "", row.failed > 0 ? `${row.failed} FAILED` : ""];
    const first = [row.group, proved.filter((part) => part !== "").join(", ")];
    const skips = [...row.skips].map(([reason, count]) => {
      const [note = "", enable = ""] = reason.split("\0");
      return [`${count} skipped: ${note}`, enable];
    });
    if (skips.length === 0) return [{ project: row.project, cells: [...first, "", ""] }];
    return skips.map((skip, place) => ({
      project: row.project,
      cells: [...(place === 0 ? first : ["", ""]), ...skip],
    }));
  });
  const titles = ["proved", "skipped because", "how to enable"];
  const all = [...cells.map((line) => line.cells), ...cells.map((line) => [line.project, ...titles])];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...all.map((parts) => parts[column]?.length ?? 0)));
  const line = (parts: readonly string[]) =>
    `  ${parts.map((part, column) => part.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd();
  const projects = Map.groupBy(cells, ({ project }) => project);
  return [...projects].flatMap(([project, of]) => [
    "",
    line([project.toUpperCase(), ...titles]),
    ...of.map((one) => line(one.cells)),
  ]);
}
