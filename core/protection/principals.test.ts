import { beforeEach, describe, expect, it } from "vitest";
import { SqliteTable } from "#adapters/embedded/table.ts";
import { makeSite, operator, type TestSite } from "../../test/kit/site.ts";
import { authenticatePrincipal, parsePrincipal, registerPrincipal } from "./principals.ts";
import { rebuildTable } from "./rebuild.ts";
import { authenticateToken, createToken } from "./tokens.ts";

const account = "123456789012";
const session = (role: string, name = "i-0") => `arn:aws:sts::${account}:assumed-role/${role}/${name}`;
const role = (path: string) => `arn:aws:iam::${account}:role/${path}`;

describe("an IAM role", () => {
  it.each([
    [session("paris-gw"), role("paris-gw"), "i-0"],
    [role("paris-gw"), role("paris-gw"), undefined],
    [role("sites/eu/paris-gw"), role("paris-gw"), undefined],
    ["arn:aws-cn:sts::123456789012:assumed-role/a/b", "arn:aws-cn:iam::123456789012:role/a", "b"],
    [`arn:aws:iam::${account}:user/team/ann`, `arn:aws:iam::${account}:user/team/ann`, undefined],
  ])("%s is known as %s", (arn, known, name) => {
    expect(parsePrincipal(arn)).toEqual({ arn: known, session: name });
  });

  it.each([
    "",
    "paris-gw",
    "arn:aws:iam::1:role/a",
    `arn:aws:iam::${account}:role/`,
    `arn:aws:iam::${account}:group/a`,
    `${session("a")}/b`,
    `arn:aws:sts::${account}:federated-user/ann`,
    `${role("a")}\n`,
  ])("%j is none", (arn) => {
    expect(parsePrincipal(arn)).toBeUndefined();
  });
});

describe("a registered principal", () => {
  let site: TestSite;
  beforeEach(() => {
    site = makeSite();
  });
  const register = (name: string, iamRole: string, as: "gateway" | "viewer" = "gateway") =>
    registerPrincipal(site, { name, role: as, iamRole }, operator);

  it("is who signs with any session of the role; people by their session's name too", async () => {
    const { gatewayId } = await register("paris-gw", role("sites/paris"));
    expect(await authenticatePrincipal(site, session("paris"), [])).toEqual({
      name: "paris-gw",
      role: "gateway",
      gatewayId,
    });
    await register("auditors", role("audit"), "viewer");
    expect(await authenticatePrincipal(site, session("audit", "eve@example.com"), [])).toEqual({
      name: "auditors/eve@example.com",
      role: "viewer",
      gatewayId: null,
    });
  });

  it("keeps a gateway's identity under another role, and the role before ends", async () => {
    const first = await register("paris-gw", role("one"));
    const second = await register("paris-gw", role("two"));
    expect(second.gatewayId).toBe(first.gatewayId);
    await expect(authenticatePrincipal(site, session("one"), [])).rejects.toMatchObject({ name: "Unauthenticated" });
    expect(await authenticatePrincipal(site, session("two"), [])).toMatchObject({ gatewayId: first.gatewayId });
  });

  it("takes the place of a name's token, and a token its place", async () => {
    const { token, gatewayId } = await createToken(site, { name: "paris-gw", role: "gateway" }, operator);
    expect((await register("paris-gw", role("one"))).gatewayId).toBe(gatewayId);
    await expect(authenticateToken(site, token)).rejects.toMatchObject({ name: "Unauthenticated" });
    await createToken(site, { name: "paris-gw", role: "gateway" }, operator);
    await expect(authenticatePrincipal(site, session("one"), [])).rejects.toMatchObject({ name: "Unauthenticated" });
  });

  it("has one name", async () => {
    await register("paris-gw", role("one"));
    await expect(register("lyon-gw", role("path/one"))).rejects.toMatchObject({
      name: "InvalidInput",
      message: expect.stringContaining('"paris-gw"'),
    });
    await expect(register("paris-gw", role("one"), "viewer")).rejects.toMatchObject({ name: "InvalidInput" });
  });

  it("has one name also when two are given it at once", async () => {
    const both = ["paris-gw", "lyon-gw"].map((name) => register(name, role("one")));
    const outcomes = await Promise.allSettled(both);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const [refused] = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
    expect(refused).toMatchObject({ name: "InvalidInput" });
  });

  it("is known again after a rebuild", async () => {
    const { gatewayId } = await register("paris-gw", role("one"));
    const rebuilt = { ...site, table: new SqliteTable(":memory:") };
    await rebuildTable(rebuilt);
    expect(await authenticatePrincipal(rebuilt, session("one"), [])).toMatchObject({ name: "paris-gw", gatewayId });
  });

  it("is an operator by the site's configuration, whatever the path and session", async () => {
    const operators = [role("people/ops")];
    expect(await authenticatePrincipal(site, session("ops", "ann"), operators)).toEqual({
      name: "ops/ann",
      role: "operator",
      gatewayId: null,
    });
    for (const arn of [session("ops2"), "arn:aws:sts::999999999999:assumed-role/ops/ann", "nonsense"]) {
      await expect(authenticatePrincipal(site, arn, operators), arn).rejects.toMatchObject({ name: "Unauthenticated" });
    }
  });
});
