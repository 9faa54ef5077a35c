import { beforeEach, describe, expect, it } from "vitest";
import { createToken } from "#core/protection/tokens.ts";
import { makeSite, operator, type TestSite } from "../../test/kit/site.ts";
import { authenticate } from "./authenticate.ts";
import type { HttpEvent } from "./http.ts";
import type { Authentication } from "./site.ts";

const ops = "arn:aws:iam::123456789012:role/ops";
const signedByOps = { iam: { userArn: "arn:aws:sts::123456789012:assumed-role/ops/ann" } };

describe("authenticate", () => {
  let site: TestSite;
  let token: string;
  beforeEach(async () => {
    site = makeSite();
    ({ token } = await createToken(site, { name: "ann", role: "operator" }, operator));
  });
  const call = (authentication: Authentication, headers: Record<string, string>, authorizer?: typeof signedByOps) => {
    const requestContext = { requestId: "r", timeEpoch: 0, http: { method: "GET" }, authorizer };
    const event: HttpEvent = { rawPath: "/", rawQueryString: "", headers, isBase64Encoded: false, requestContext };
    return authenticate({ site, authentication }, event);
  };
  const byToken: Authentication = { kind: "token" };
  const byIam: Authentication = { kind: "iam", operatorArns: [ops] };

  it("takes the host's way alone: tokens where there are tokens, IAM where AWS has checked the signature", async () => {
    const bearer = { authorization: `Bearer ${token}` };
    expect(await call(byToken, bearer)).toMatchObject({ name: "ann" });
    expect(await call(byIam, {}, signedByOps)).toMatchObject({ name: "ops/ann", role: "operator" });
    await expect(call(byToken, {}, signedByOps)).rejects.toMatchObject({ name: "Unauthenticated" });
    await expect(call(byIam, bearer)).rejects.toMatchObject({ name: "Unauthenticated" });
  });

  it("believes no header about who signed", async () => {
    const claims = { "x-amz-user-arn": ops, "x-amzn-request-context": JSON.stringify({ authorizer: signedByOps }) };
    await expect(call(byIam, claims)).rejects.toMatchObject({ name: "Unauthenticated" });
    await expect(call(byToken, claims)).rejects.toMatchObject({ name: "Unauthenticated" });
  });
});
