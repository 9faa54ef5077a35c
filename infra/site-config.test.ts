import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { root } from "./folders.ts";
import { readConfig } from "./site-config.ts";

const folder = mkdtempSync(join(tmpdir(), "farshore-config-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function read(text: string) {
  const file = join(folder, "site.toml");
  writeFileSync(file, text);
  return readConfig(file);
}

const bus = "arn:aws:events:eu-central-1:111111111111:event-bus/farshore-berlin";
const forward = (name: string, to: string) =>
  `[[forward]]\nname = "${name}"\naccount = "222222222222"\nregion = "us-west-2"\nto = ["${to}"]\n`;

describe("a configuration file", () => {
  it("of one name is a site with every default", () => {
    expect(read('[[site]]\nname = "berlin"\n').sites).toEqual([
      {
        name: "berlin",
        encryption: "service",
        operators: [],
        gateways: [],
        people: [],
        peers: [],
        event_accounts: [],
        alarm_emails: [],
        log_retention_days: 30,
        reserve_concurrency: true,
        remove_data: false,
      },
    ]);
  });

  it("may hold many sites in their own places", () => {
    const { sites } = read(
      '[[site]]\nname = "berlin"\naccount = "111111111111"\nregion = "eu-central-1"\n' +
        '[[site]]\nname = "oregon"\naccount = "222222222222"\nregion = "us-west-2"\n',
    );
    expect(sites.map(({ name, region }) => `${name} ${region}`)).toEqual(["berlin eu-central-1", "oregon us-west-2"]);
  });

  it.each([
    ["", "site"],
    ['[[site]]\nname = "Berlin"', "name"],
    [`[[site]]\nname = "${"x".repeat(31)}"`, "name"],
    ['[[site]]\nname = "a"\n[[site]]\nname = "a"', "two sites"],
    ['[[site]]\nname = "a"\nregion = "eu-central-1"', "both account and region"],
    ['[[site]]\nname = "a"\nregoin = "eu-central-1"', "regoin"],
    ['[[site]]\nname = "a"\ngateways = ["paris"]', "gateways"],
    ['[[site]]\nname = "a"\noperators = ["111111111111"]', "operators"],
    ['[[site]]\nname = "a"\ngateways = ["*"]', "gateways"],
    ['[[site]]\nname = "a"\nlog_retention_days = 31', "log_retention_days"],
    ['[[site]]\nname = "a"\n[[forward]]\nname = "b"\nto = []', "account"],
    [`[[site]]\nname = "a"\n${forward("b", "arn:aws:iam::111111111111:role/x")}`, "bus"],
    [`[[site]]\nname = "forward-b"\n${forward("b", bus)}`, "two sites"],
    ["[[site", "not TOML"],
  ])("%j is refused, naming %s", (text, named) => {
    expect(() => read(text)).toThrow(named);
  });

  it("has an example, whose every line taken out of its comment is still one", () => {
    const example = readFileSync(join(root, "infra/farshore-site.example.toml"), "utf8");
    const all = example.replaceAll(/^# (?=\w+ = |\[)/gm, "");
    expect(read(example)).toMatchObject({ sites: [{ name: "berlin" }], forwards: [] });
    expect(read(all).forwards).toMatchObject([{ region: "us-west-2" }]);
    expect(read(all).sites[0]).toMatchObject({ region: "eu-central-1", log_retention_days: 30, remove_data: false });
  });
});
