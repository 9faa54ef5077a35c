import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { loadGatewayConfig } from "../gateway/config.ts";
import { examples } from "./examples.ts";
import { readVpgFile } from "./vpg-file.ts";

const directory = mkdtempSync(join(tmpdir(), "farshore-examples-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const written = (name: string, text: string): string => {
  const file = join(directory, name);
  writeFileSync(file, text);
  return file;
};

describe("the files of farshore init are read by what will read them", () => {
  it("vpg.toml", () => {
    expect(readVpgFile(written("vpg.toml", examples["vpg.toml"] ?? ""))).toMatchObject({
      name: "shop",
      checkpointIntervalMs: 5000,
      vms: [{ name: "db", volumes: [{ name: "data", sizeBytes: 67_108_864 }, { name: "log" }] }],
    });
  });

  it.each(["source-gateway.toml", "recovery-gateway.toml"])("%s, also with its commented hooks and barrier", (name) => {
    const text = examples[name] ?? "";
    const hooks = text.replaceAll(/^# (\[hooks|(?:boot|kill|shutdown|status) =)/gm, "$1");
    written("barrier.key", "k".repeat(64));
    const barrier = text.replaceAll(/^# (barrier_(?:listen|key_file) =)/gm, "$1");
    for (const each of [text, hooks, barrier]) expect(() => loadGatewayConfig(written(name, each), "x")).not.toThrow();
  });
});

describe("a bad VPG file is refused with the file and the key", () => {
  it.each([
    ["name = 1", /name/],
    ["nonsense", /not TOML/],
    [`${examples["vpg.toml"]}\n[surprise]\n`, /surprise/],
    [(examples["vpg.toml"] ?? "").replace('"64MiB"', '"64 MB"'), /not a size/],
    [(examples["vpg.toml"] ?? "").replace('"15s"', '"soon"'), /not a duration/],
  ])("%#", (text, message) => {
    expect(() => readVpgFile(written("bad.toml", text))).toThrow(message);
    expect(() => readVpgFile(written("bad.toml", text))).toThrow(/bad\.toml/);
  });
});
