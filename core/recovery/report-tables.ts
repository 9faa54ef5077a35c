import { recoveryLimits as limits } from "./limits.ts";
import { type Content, type Markup, markup } from "./markup.ts";

/** A text as far as the page has room for it. */
export type Cut = (text: string) => string;

/** A heading and what it heads. */
export type Row = readonly [string, Content];

export function cutTo(charactersMax: number): Cut {
  return (text) => {
    if (text.length <= charactersMax) return text;
    // Half of a pair of surrogates is no character.
    const shown = text.slice(0, charactersMax).replace(/[\ud800-\udbff]$/, "");
    return `${shown}… (${text.length - shown.length} more characters in the JSON report)`;
  };
}

/** The greatest distance from the epoch that a date has, ms. */
const dateMsMax = 8.64e15;

/** An instant in ms since the epoch, readable for people and machines. */
export function clock(ms: number): Content {
  if (Math.abs(ms) > dateMsMax) return `${ms} ms since 1970`;
  const iso = new Date(ms).toISOString();
  return markup`<time datetime="${iso}">${iso.replace("T", " ").replace("Z", " UTC")}</time>`;
}

export const factTable = (rows: readonly Row[]): Markup =>
  markup`<table class="facts">\n<tbody>\n${rows.map(
    ([heading, content]) => markup`<tr><th scope="row">${heading}</th><td>${content}</td></tr>\n`,
  )}</tbody>\n</table>`;

/** The first cell of a row names it. */
export const table = (
  headings: readonly string[],
  rows: { readonly cells: readonly Content[][]; readonly more: number },
): Markup =>
  markup`<table>
<thead>
<tr>${headings.map((heading) => markup`<th scope="col">${heading}</th>`)}</tr>
</thead>
<tbody>
${rows.cells.map(rowOf)}</tbody>
</table>${rows.more === 0 ? "" : markup`\n<p class="faint">${rows.more} more in the JSON report.</p>`}`;

function rowOf([first = "", ...others]: readonly Content[]): Markup {
  if (others.length === 0) return markup`<tr><td>${first}</td></tr>\n`;
  return markup`<tr><th scope="row">${first}</th>${others.map((cell) => markup`<td>${cell}</td>`)}</tr>\n`;
}

/** As many rows as the page has room for, and how many it has not. */
export function rowsOf<T>(
  values: readonly T[],
  cellsOf: (value: T) => Content[],
): { readonly cells: readonly Content[][]; readonly more: number } {
  const cells = values.slice(0, limits.reportRowsMax).map(cellsOf);
  return { cells, more: values.length - cells.length };
}
