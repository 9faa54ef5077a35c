import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { protectionLimits } from "#core/protection/limits.ts";
import type { VmHooks } from "../config.ts";
import { Means } from "./means.ts";

const hooks = new Map<string, VmHooks>([
  ["db", { boot: ["b"], kill: ["k"], timeoutMs: 1 }],
  ["web", { shutdown: ["s"], status: ["t"], timeoutMs: 1 }],
]);

describe("Means", () => {
  it("names the VMs of each hook, and the room of the recovery directory", async () => {
    const directory = await mkdtemp(join(tmpdir(), "means-"));
    const means = new Means(hooks, directory);
    await means.refresh();
    const { hooks: told, freeBytes } = means.sample();
    expect(told).toEqual({ boot: ["db"], shutdown: ["web"], kill: ["db"], status: ["web"], remove: [] });
    expect(freeBytes).toBeGreaterThan(0);
    await rm(directory, { recursive: true });
    await means.refresh();
    expect(means.sample().freeBytes).toBeNull();
  });

  it("knows of no room without a recovery directory, and tells no hooks of too many VMs", async () => {
    const means = new Means(hooks, undefined);
    await means.refresh();
    expect(means.sample().freeBytes).toBeNull();
    const many = Array.from(
      { length: protectionLimits.hookVmsMax + 1 },
      (_, vm) => [`vm-${vm}`, { timeoutMs: 1 }] as const,
    );
    expect(new Means(new Map(many), undefined).sample().hooks).toBeNull();
  });
});
