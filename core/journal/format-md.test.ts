import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { layerExtentAt, layerFixedBytes, layerSourceAt, sectionAt } from "./layer-layout.ts";
import { at, fixedHeaderBytes, frameEntryBytes, recordBytes } from "./layout.ts";
import {
  headerBytesMax,
  objectBytesMax,
  payloadBytesMax,
  recordsMax,
  sectionExtentsMax,
  sectionsMax,
} from "./limits.ts";

const text = readFileSync(new URL("./FORMAT.md", import.meta.url), "utf8");
const golden = readFileSync(new URL("./golden/one-write.bin", import.meta.url));

describe("FORMAT.md", () => {
  it("shows the golden file's bytes where they stand", () => {
    const rows = [...text.matchAll(/^([0-9a-f]{3}) {2}((?:[0-9a-f]{2} ){16})/gm)];
    expect(rows).toHaveLength(12);
    for (const [, place = "", bytes = ""] of rows) {
      const start = Number.parseInt(place, 16);
      expect(golden.subarray(start, start + 16).toString("hex"), place).toBe(bytes.replaceAll(" ", ""));
    }
    expect(golden.length).toBe(780);
  });

  it("has the fixed header's fields at the code's places", () => {
    const table = text.slice(text.indexOf("### Fixed header"), text.indexOf("### Records"));
    const places = [...table.matchAll(/^\| (\d+) \| u?\d+ \|/gm)].map(([, place]) => Number(place));
    expect(places).toEqual(Object.values(at).sort((left, right) => left - right));
  });

  it("has the fields of a section, an extent and a source at the code's places", () => {
    const layer = text.slice(text.indexOf("### Layer"), text.indexOf("## Limits"));
    const [, entry = "", extent = "", source = ""] = layer.split(/^\| at \| size \| field \|/m).slice(1);
    const placesIn = (table: string): number[] =>
      [...table.matchAll(/^\| (\d+) \| u\d+ \|/gm)].map(([, place]) => Number(place));
    for (const [table, places] of [
      [entry, sectionAt],
      [extent, layerExtentAt],
      [source, layerSourceAt],
    ] as const) {
      expect(placesIn(table)).toEqual(Object.values(places).sort((left, right) => left - right));
    }
    expect(layer).toContain(`fixed header   ${layerFixedBytes} bytes`);
    expect(layer).toContain(sectionsMax.toLocaleString("en-US"));
    expect(layer).toContain(sectionExtentsMax.toLocaleString("en-US"));
  });

  it("states the code's limits", () => {
    const said = (value: number): string => value.toLocaleString("en-US");
    for (const value of [
      headerBytesMax,
      objectBytesMax,
      payloadBytesMax,
      recordsMax,
      Math.ceil(objectBytesMax / 3) * 4,
    ]) {
      expect(text).toContain(said(value));
    }
    expect(text).toContain(`fixed header   ${fixedHeaderBytes} bytes`);
    expect(text).toContain(`records        ${recordBytes} bytes`);
    expect(text).toContain(`frame table    ${frameEntryBytes} bytes`);
  });
});
