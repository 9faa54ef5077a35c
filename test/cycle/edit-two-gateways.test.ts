/**
 * A VPG on two source gateways, as processes, is edited while guests write to both: one of them gets a volume more. The other's part of the
 * session goes on, barriers come again once both have taken the edit up, and every volume equals its disk.
 */
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { vpgDefinitionSchema } from "#core/api/site-api.ts";
import { until } from "../../scripts/demo/stage.ts";
import { servedVm, servedVmElsewhere, servedVpg } from "../kit/served-site.ts";
import { StampGuest } from "../kit/stamp-guest.ts";
import { cleanUpGateways, TwoGateways } from "../kit/two-gateways.ts";

const MiB = 2 ** 20;
const names = ["paris", "lyon"] as const;
cleanUpGateways();

it("takes an edit up at both of two gateways while their guests write", async () => {
  const stage = await TwoGateways.start(2 * MiB);
  for (const name of names) stage.run(name);
  await stage.checkpoints(1, 0);
  const guests = names.map((name, index) => new StampGuest(stage.uri(name), index + 1));
  for (const guest of guests) guest.start();
  const { operator: token } = stage.site.tokens;
  const path = `/v1/vpgs/${servedVpg}/definition`;
  const { definition, revision } = vpgDefinitionSchema.parse((await stage.site.call(path, { token })).json());
  const vms = definition.vms.map((vm) =>
    vm.name === servedVmElsewhere
      ? { ...vm, volumes: [...vm.volumes, { name: "more", sizeBytes: MiB, sectorBytes: 512 as const }] }
      : vm,
  );
  const body = { definition: { ...definition, vms }, revision, dryRun: false };
  expect((await stage.site.call(path, { method: "POST", token, body })).status).toBe(200);
  await until("the gateway that needs a disk", 60_000, async () =>
    (await stage.site.vpg()).configurationProblem?.includes('name = "more"') === true ? true : undefined,
  );
  const disk = join(stage.site.directory, "more.img");
  writeFileSync(disk, "");
  truncateSync(disk, MiB);
  const lyon = join(stage.site.directory, "lyon.toml");
  const text = readFileSync(lyon, "utf8");
  writeFileSync(
    lyon,
    text.replace(
      "[hooks.",
      `[[source.volume]]\nvm = "${servedVmElsewhere}"\nname = "more"\npath = "more.img"\n[hooks.`,
    ),
  );
  await until("both to have taken it up", 90_000, async () =>
    (await stage.site.vpg()).configurationProblem === undefined ? true : undefined,
  );
  const more = new StampGuest(stage.uri("lyon").replace("/data?", "/more?"), 7);
  more.start();
  await stage.checkpoints(2, Date.now());
  for (const guest of [...guests, more]) await guest.stop();
  const since = Date.now();
  await stage.settled(since);
  const volumes = [`${servedVm}/data`, `${servedVmElsewhere}/data`, `${servedVmElsewhere}/more`];
  const disks = [...stage.diskImages().values(), readFileSync(disk)];
  for (const [index, volume] of volumes.entries()) {
    const output = join(stage.site.directory, `image-${index}`);
    await stage.farshore("view", "write", servedVpg, "--checkpoint", "latest", "--volume", volume, "--output", output);
    expect(readFileSync(output).equals(disks[index] ?? Buffer.alloc(0)), volume).toBe(true);
  }
  for (const guest of [...guests, more]) expect(guest.written).toBeGreaterThan(0);
});
