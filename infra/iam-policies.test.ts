import { describe, expect, it } from "vitest";
import { type AccessRequest, decideAccess, type Statement } from "../test/kit/iam-policies.ts";

const ann = "arn:aws:iam::111111111111:role/ann";
const request: AccessRequest = { principal: ann, action: "s3:GetObject", resource: "arn:aws:s3:::b/journal/x" };
const allow = (over: Partial<Statement> = {}): Statement => ({
  ...{ Effect: "Allow", Action: ["s3:GetObject"], Resource: ["arn:aws:s3:::b/*"] },
  ...over,
});
const deny = (over: Partial<Statement> = {}): Statement => allow({ Effect: "Deny", ...over });
const everybody = { AWS: ["*"], Service: undefined };

function decide(
  identity: readonly Statement[],
  resource: readonly Statement[] = [],
  over: Partial<AccessRequest> = {},
) {
  return decideAccess({ ...request, ...over }, { identity, resource }).allowed;
}

/** The evaluation that the policy tables rest on (IAM user guide, "Policy evaluation logic" and "Condition operators"). */
describe("an access decision", () => {
  it("is no without an allow, and yes with one of the identity's or the resource's policies", () => {
    expect(decide([])).toBe(false);
    expect(decide([allow()])).toBe(true);
    expect(decide([], [allow({ Principal: everybody })])).toBe(true);
  });

  it("is no by one deny, wherever it stands", () => {
    expect(decide([allow(), deny()])).toBe(false);
    expect(decide([allow()], [deny({ Principal: everybody })])).toBe(false);
  });

  it.each<[string, Statement["Principal"], boolean]>([
    ["everybody", everybody, true],
    ["the caller", { AWS: [ann] }, true],
    ["the caller's account", { AWS: ["arn:aws:iam::111111111111:root"] }, true],
    ["another role", { AWS: ["arn:aws:iam::111111111111:role/bob"] }, false],
    ["a service", { AWS: undefined, Service: ["events.amazonaws.com"] }, false],
  ])("of a resource's statement for %s", (_, Principal, expected) => {
    expect(decide([], [allow({ Principal })])).toBe(expected);
  });

  it.each<[string, Partial<Statement>, boolean]>([
    ["wildcards of actions, in any case", { Action: ["S3:get*"] }, true],
    ["another action", { Action: ["s3:PutObject"] }, false],
    ["everything but another action", { Action: undefined, NotAction: ["s3:PutObject"] }, true],
    ["everything but this action", { Action: undefined, NotAction: ["s3:*"] }, false],
    ["one character", { Resource: ["arn:aws:s3:::b/journal/?"] }, true],
    ["a resource in another case", { Resource: ["arn:aws:s3:::b/Journal/*"] }, false],
    ["a dot that is no wildcard", { Resource: ["arn:aws:s3:::b.journal/x"] }, false],
    ["everything but another resource", { Resource: undefined, NotResource: ["arn:aws:s3:::c/*"] }, true],
  ])("with %s", (_, over, expected) => {
    expect(decide([allow(over)])).toBe(expected);
  });

  it.each<[string, NonNullable<Statement["Condition"]>, Readonly<Record<string, string>>, boolean]>([
    ["a key that must be missing and is", { Null: { "s3:if-none-match": ["true"] } }, {}, true],
    [
      "a key that must be missing and is there",
      { Null: { "s3:if-none-match": ["true"] } },
      { "s3:If-None-Match": "*" },
      false,
    ],
    ["a key that must be there and is missing", { Null: { "s3:if-none-match": ["false"] } }, {}, false],
    ["Bool of a missing key", { Bool: { "s3:ObjectCreationOperation": ["true"] } }, {}, false],
    ["TLS, which a request has unless it says otherwise", { Bool: { "aws:SecureTransport": ["true"] } }, {}, true],
    [
      "one of several values",
      { StringEquals: { "aws:PrincipalTag/a": ["x", "y"] } },
      { "aws:PrincipalTag/a": "y" },
      true,
    ],
    ["all of several keys", { StringEquals: { a: ["1"], b: ["2"] } }, { a: "1" }, false],
    ["a number below", { NumericLessThan: { "s3:TlsVersion": ["1.2"] } }, { "s3:TlsVersion": "1.1" }, true],
    [
      "a pattern",
      { ArnLike: { "aws:SourceArn": ["arn:aws:events:*"] } },
      { "aws:SourceArn": "arn:aws:events:x" },
      true,
    ],
  ])("with the condition of %s", (_, Condition, context, expected) => {
    expect(decide([allow({ Condition })], [], { context })).toBe(expected);
  });

  it("is refused where it would need what isn't known here", () => {
    const Condition = { DateLessThan: { "aws:CurrentTime": ["2030-01-01"] } };
    expect(() => decide([allow({ Condition })], [], { context: { "aws:CurrentTime": "x" } })).toThrow("DateLessThan");
  });
});
