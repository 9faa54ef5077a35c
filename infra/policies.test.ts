import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { idSchema } from "#core/ids.ts";
import * as keys from "#core/journal/keys.ts";
import { bucketKeys } from "#core/protection/keys.ts";
import { decideAccess, type Statement } from "../test/kit/iam-policies.ts";
import { SiteTemplate, statementsOf, testAccount } from "../test/kit/site-template.ts";
import {
  collectedAreas,
  createOnceAreas,
  derivedAreas,
  identityObject,
  passingAreas,
  replacedAreas,
} from "./constructs/bucket-areas.ts";
import { functionFolders, machineFolders, root } from "./folders.ts";

const site = new SiteTemplate({
  encryption: "kms",
  peers: [`arn:aws:lambda:eu-west-3:${testAccount}:function:farshore-paris-site-api`],
});
const bucket = site.arnOf("AWS::S3::Bucket");
const table = site.arnOf("AWS::DynamoDB::Table");
const bus = `arn:aws:events:eu-central-1:${testAccount}:event-bus/farshore-berlin`;
const key = site.arnOf("AWS::KMS::Key");
const machine = (name: string) => `arn:aws:states:eu-central-1:${testAccount}:stateMachine:farshore-berlin-${name}`;
const lambda = (name: string) => `arn:aws:lambda:eu-central-1:${testAccount}:function:farshore-berlin-${name}`;
const peer = `arn:aws:lambda:eu-west-3:${testAccount}:function:farshore-paris-site-api`;
const execution = `arn:aws:states:eu-central-1:${testAccount}:execution:farshore-berlin-failover-live:x.1`;
const batch = `${bucket}/journal/v/1/1/0`;

const everything: Statement = { Effect: "Allow", Action: ["*"], Resource: ["*"] };
/** Outsiders of the stack: an administrator of the account, and roles with this site's own policies attached. */
const outsiders: Readonly<Record<string, readonly Statement[]>> = {
  administrator: [everything],
  operator: attached("PeoplePolicy"),
  gateway: attached("GatewaysPolicy"),
};

function attached(output: string): readonly Statement[] {
  const name = site.output(output).split("/").at(-1) ?? "";
  return statementsOf(site.all("AWS::IAM::ManagedPolicy").get(name)?.["PolicyDocument"]);
}

function machineRole(name: string): string {
  for (const { StateMachineName, RoleArn } of site.all("AWS::StepFunctions::StateMachine").values())
    if (StateMachineName === `farshore-berlin-${name}`) return String(RoleArn);
  throw new Error(`no state machine ${name}`);
}

function decide(who: string, action: string, resource: string, context: Readonly<Record<string, string>> = {}): string {
  const outside = outsiders[who];
  const role = who.startsWith("machine:") ? machineRole(who.slice("machine:".length)) : undefined;
  const principal = outside === undefined ? (role ?? site.roleOf(who)) : `arn:aws:iam::${testAccount}:role/${who}`;
  const identity = outside ?? site.identityOf(principal);
  const policies = { identity, resource: resource.startsWith(bucket) ? site.bucketPolicy : [] };
  return decideAccess({ principal, action, resource, context }, policies).allowed ? "allowed" : "denied";
}

const object = { "s3:ObjectCreationOperation": "true" };
const ifNoneMatch = { ...object, "s3:if-none-match": "*" };
const viaUrl = { "lambda:FunctionUrlAuthType": "AWS_IAM", "lambda:InvokedViaFunctionUrl": "true" };

/** who · action · resource · context of the request · what must come of it */
const rows: readonly (readonly [string, string, string, Readonly<Record<string, string>>, "allowed" | "denied"])[] = [
  // A batch is created, and only created.
  ["ingest-batch", "s3:PutObject", batch, ifNoneMatch, "allowed"],
  ["ingest-batch", "s3:PutObject", batch, object, "denied"],
  ["ingest-batch", "s3:GetObject", batch, {}, "allowed"],
  ["ingest-batch", "s3:DeleteObject", batch, {}, "denied"],
  ["ingest-batch", "s3:PutObject", `${bucket}/terms/v/1-s.json`, ifNoneMatch, "denied"],
  // A compactor creates layers and manifests; it deletes layers, which batches can make again, and nothing else.
  ["compact-journal", "s3:PutObject", `${bucket}/layers/v/l/000000`, ifNoneMatch, "allowed"],
  ["compact-journal", "s3:PutObject", `${bucket}/layers/v/l/000000`, object, "denied"],
  ["compact-journal", "s3:DeleteObject", `${bucket}/layers/v/l/000000`, {}, "allowed"],
  ["compact-journal", "s3:PutObject", `${bucket}/manifests/v/1.json`, ifNoneMatch, "allowed"],
  ["compact-journal", "s3:DeleteObject", `${bucket}/manifests/v/1.json`, {}, "denied"],
  ["compact-journal", "s3:DeleteObject", batch, {}, "denied"],
  ["compact-journal", "s3:PutObject", batch, ifNoneMatch, "denied"],
  ["compact-journal", "s3:PutObject", `${bucket}/packs/v/1/0-p`, ifNoneMatch, "allowed"],
  ["compact-journal", "s3:DeleteObject", `${bucket}/packs/v/1/0-p`, {}, "denied"],
  // The collector deletes for good what retention has replaced, and creates nothing but manifests and their digests.
  ["collect-journal", "s3:DeleteObjectVersion", batch, {}, "allowed"],
  ["collect-journal", "s3:DeleteObject", `${bucket}/packs/v/1/0-p`, {}, "allowed"],
  ["collect-journal", "s3:ListBucketVersions", bucket, {}, "allowed"],
  ["collect-journal", "s3:DeleteObject", `${bucket}/sessions/v/1.json`, {}, "denied"],
  ["collect-journal", "s3:DeleteObjectVersion", `${bucket}/terms/v/1-s.json`, {}, "denied"],
  ["collect-journal", "s3:PutObject", batch, ifNoneMatch, "denied"],
  ["collect-journal", "s3:PutObject", `${bucket}/manifests/v/1.json`, ifNoneMatch, "allowed"],
  ["collect-journal", "s3:PutObject", `${bucket}/digests/v/d.json`, ifNoneMatch, "allowed"],
  ["collect-journal", "s3:GetObject", `${bucket}/deleted-vpgs/v.json`, {}, "allowed"],
  // The scrub reads and changes nothing.
  ["scrub-journal", "s3:GetObject", batch, {}, "allowed"],
  ["scrub-journal", "s3:GetObject", `${bucket}/tokens/ann.json`, {}, "denied"],
  ["scrub-journal", "s3:PutObject", batch, ifNoneMatch, "denied"],
  ["scrub-journal", "s3:DeleteObject", `${bucket}/layers/v/l/000000`, {}, "denied"],
  ["site-api", "s3:DeleteObject", `${bucket}/layers/v/l/000000`, {}, "denied"],
  ["ingest-batch", "s3:PutObject", `${bucket}/tokens/ann.json`, object, "denied"],
  ["ingest-batch", "states:StartExecution", machine("failover-live"), {}, "denied"],
  ["ingest-batch", "dynamodb:DeleteTable", table, {}, "denied"],
  ["ingest-batch", "s3:PutObject", batch, { ...ifNoneMatch, "aws:SecureTransport": "false" }, "denied"],
  // Parts of an upload carry no If-None-Match; what makes them an object does.
  ["ingest-batch", "s3:PutObject", batch, { "s3:ObjectCreationOperation": "false" }, "allowed"],
  // Gateways open sessions, which seals the one before; they take no authority.
  ["gateway-api", "s3:PutObject", `${bucket}/sessions/v/1.json`, ifNoneMatch, "allowed"],
  ["gateway-api", "s3:PutObject", `${bucket}/terms/v/2-s.json`, ifNoneMatch, "denied"],
  ["gateway-api", "s3:PutObject", `${bucket}/decisions/v/o.json`, ifNoneMatch, "denied"],
  ["gateway-api", "states:SendTaskSuccess", machine("failover-live"), {}, "allowed"],
  ["gateway-api", "states:StartExecution", machine("failover-live"), {}, "denied"],
  // People start and decide; a new token replaces the old one; nothing else is replaced.
  ["site-api", "states:StartExecution", machine("failover-live"), {}, "allowed"],
  ["site-api", "states:StartExecution", machine("other"), {}, "denied"],
  ["site-api", "states:StopExecution", execution, {}, "denied"],
  ["site-api", "states:StopExecution", execution.replace("failover-live", "move"), {}, "allowed"],
  ["site-api", "s3:GetObject", `${bucket}/decisions/v/o.json`, {}, "allowed"],
  ["site-api", "s3:PutObject", `${bucket}/tokens/ann.json`, object, "allowed"],
  ["site-api", "s3:PutObject", `${bucket}/vpgs/v/1.json`, object, "denied"],
  ["site-api", "s3:PutObject", `${bucket}/vpgs/v/1.json`, ifNoneMatch, "allowed"],
  ["site-api", "s3:PutObject", `${bucket}/sessions/v/1.json`, ifNoneMatch, "denied"],
  ["site-api", "s3:PutObject", `${bucket}/peers/paris/1.json`, ifNoneMatch, "allowed"],
  ["site-api", "s3:PutObject", `${bucket}/peers/paris/1.json`, object, "denied"],
  ["site-api", "s3:GetObject", `${bucket}/peers/paris/1.json`, {}, "allowed"],
  ["gateway-api", "s3:PutObject", `${bucket}/peers/paris/1.json`, ifNoneMatch, "denied"],
  // What tells that a live operation began stays, whoever else declares it to be over.
  ["begin-operation", "s3:PutObject", `${bucket}/operations/v/o.0001.json`, ifNoneMatch, "allowed"],
  ["begin-operation", "s3:PutObject", `${bucket}/operations/v/o.0001.json`, object, "denied"],
  ["begin-operation", "s3:PutObject", `${bucket}/terms/v/2-s.json`, ifNoneMatch, "denied"],
  ["site-api", "s3:PutObject", `${bucket}/operations/v/o.0001-forgotten.json`, ifNoneMatch, "allowed"],
  ["end-operation", "s3:PutObject", `${bucket}/operations/v/o.0001.json`, ifNoneMatch, "denied"],
  // The one who mints a term.
  ["mint-term", "s3:PutObject", `${bucket}/terms/v/2-s.json`, ifNoneMatch, "allowed"],
  ["mint-term", "s3:PutObject", `${bucket}/terms/v/2-s.json`, object, "denied"],
  ["mint-term", "s3:PutObject", batch, ifNoneMatch, "denied"],
  ["next-boot-group", "s3:PutObject", `${bucket}/terms/v/2-s.json`, ifNoneMatch, "denied"],
  ["next-boot-group", "s3:GetObject", batch, {}, "denied"],
  ["reconciler", "states:DescribeExecution", execution, {}, "allowed"],
  ["reconciler", "states:DescribeExecution", execution.replace("farshore-berlin", "farshore-madrid"), {}, "denied"],
  ["reconciler", "kms:Decrypt", key, {}, "allowed"],
  ["reconciler", "kms:ScheduleKeyDeletion", key, {}, "denied"],
  // What triggers: one notes, the other starts and tells; neither takes authority.
  ["site-monitor", "states:StartExecution", machine("failover-live"), {}, "allowed"],
  ["site-monitor", "events:PutEvents", bus, {}, "allowed"],
  ["site-monitor", "s3:PutObject", `${bucket}/terms/v/2-s.json`, ifNoneMatch, "denied"],
  // A failover asks for the newest definition, and completes one that an edit left in the table alone.
  ["site-monitor", "s3:GetObject", `${bucket}/vpgs/v/definition-0001.json`, {}, "allowed"],
  ["site-monitor", "s3:PutObject", `${bucket}/vpgs/v/definition-0001.json`, ifNoneMatch, "allowed"],
  ["receive-event", "states:StartExecution", machine("failover-live"), {}, "denied"],
  ["receive-event", "events:PutEvents", bus, {}, "denied"],
  ["receive-event", "s3:GetObject", batch, {}, "denied"],
  // State machines call the functions that their documents name.
  ["machine:failover-live", "lambda:InvokeFunction", lambda("mint-term"), {}, "allowed"],
  ["machine:failover-test", "lambda:InvokeFunction", lambda("mint-term"), {}, "denied"],
  ["machine:failover-test", "lambda:InvokeFunction", lambda("seal-sessions"), {}, "denied"],
  ["machine:failover-live", "lambda:InvokeFunction", lambda("site-api"), {}, "denied"],
  ["machine:failover-live", "lambda:InvokeFunction", lambda("prove-final"), {}, "denied"],
  ["machine:move", "lambda:InvokeFunction", lambda("prove-final"), {}, "allowed"],
  ["prove-final", "s3:GetObject", batch, {}, "allowed"],
  ["prove-final", "s3:PutObject", batch, ifNoneMatch, "denied"],
  ["machine:failover-live", "s3:GetObject", batch, {}, "denied"],
  // One function speaks with peers, and claims what it agreed with them.
  ["ask-peer", "lambda:InvokeFunctionUrl", peer, viaUrl, "allowed"],
  ["ask-peer", "lambda:InvokeFunction", peer, viaUrl, "allowed"],
  ["ask-peer", "lambda:InvokeFunction", peer, {}, "denied"],
  ["ask-peer", "lambda:InvokeFunctionUrl", lambda("site-api"), viaUrl, "denied"],
  ["site-api", "lambda:InvokeFunctionUrl", peer, viaUrl, "denied"],
  ["reconciler", "lambda:InvokeFunctionUrl", peer, viaUrl, "denied"],
  ["ask-peer", "s3:PutObject", `${bucket}/offers/v/3-s.json`, ifNoneMatch, "allowed"],
  ["ask-peer", "s3:PutObject", `${bucket}/offers/v/3-s.json`, object, "denied"],
  // Killed behind the decision's copy, it finds one when it is called again.
  ["ask-peer", "s3:GetObject", `${bucket}/decisions/v/o.json`, {}, "allowed"],
  ["ask-peer", "s3:PutObject", batch, ifNoneMatch, "denied"],
  ["ask-peer", "states:StartExecution", machine("failover-live"), {}, "denied"],
  ["end-operation", "states:StartExecution", machine("reverse-protection"), {}, "allowed"],
  ["end-operation", "states:StartExecution", machine("other"), {}, "denied"],
  ["machine:reverse-protection", "lambda:InvokeFunction", lambda("ask-peer"), {}, "allowed"],
  ["machine:failover-live", "lambda:InvokeFunction", lambda("ask-peer"), {}, "denied"],
  ["machine:reverse-protection", "lambda:InvokeFunction", lambda("mint-term"), {}, "denied"],
  // People of the site: the URL and nothing beside it.
  ["operator", "lambda:InvokeFunctionUrl", lambda("site-api"), viaUrl, "allowed"],
  ["operator", "lambda:InvokeFunction", lambda("site-api"), viaUrl, "allowed"],
  ["operator", "lambda:InvokeFunction", lambda("site-api"), {}, "denied"],
  ["operator", "lambda:InvokeFunctionUrl", lambda("site-api"), { "lambda:FunctionUrlAuthType": "NONE" }, "denied"],
  ["operator", "lambda:InvokeFunctionUrl", lambda("gateway-api"), viaUrl, "denied"],
  ["operator", "lambda:InvokeFunction", lambda("mint-term"), viaUrl, "denied"],
  ["operator", "s3:DeleteObject", batch, {}, "denied"],
  ["operator", "s3:DeleteObjectVersion", batch, {}, "denied"],
  ["operator", "s3:GetObject", batch, {}, "denied"],
  ["operator", "dynamodb:DeleteItem", table, {}, "denied"],
  // Gateways: their two URLs.
  ["gateway", "lambda:InvokeFunctionUrl", lambda("ingest-batch"), viaUrl, "allowed"],
  ["gateway", "lambda:InvokeFunction", lambda("gateway-api"), viaUrl, "allowed"],
  ["gateway", "lambda:InvokeFunction", lambda("gateway-api"), {}, "denied"],
  ["gateway", "lambda:InvokeFunctionUrl", lambda("site-api"), viaUrl, "denied"],
  ["gateway", "s3:PutObject", batch, ifNoneMatch, "denied"],
  ["gateway", "s3:GetObject", batch, {}, "denied"],
  // Even who may do everything neither replaces nor deletes; first the policy must go, which is an act of its own.
  ["administrator", "s3:DeleteObject", batch, {}, "denied"],
  ["administrator", "s3:DeleteObjectVersion", batch, {}, "denied"],
  ["administrator", "s3:PutObject", batch, object, "denied"],
  ["administrator", "s3:PutObject", `${bucket}/site.json`, object, "denied"],
  ["administrator", "s3:DeleteObject", `${bucket}/tokens/ann.json`, {}, "allowed"],
  ["administrator", "s3:GetObject", batch, { "aws:SecureTransport": "false" }, "denied"],
  ["administrator", "s3:GetObject", batch, { "s3:TlsVersion": "1.1" }, "denied"],
  ["administrator", "s3:DeleteBucketPolicy", bucket, {}, "allowed"],
];

describe("access", () => {
  it.each(rows)("%s · %s · %s · %o: %s", (who, action, resource, context, expected) => {
    expect(decide(who, action, resource, context)).toBe(expected);
  });

  it.each(functionFolders)("%s may do nothing to objects that were created", (folder) => {
    const mayCollect = folder === "collect-journal";
    for (const area of mayCollect ? createOnceAreas : [...createOnceAreas, ...collectedAreas]) {
      const resource = `${bucket}/${area}/v/x.json`;
      expect(decide(folder, "s3:PutObject", resource, object)).toBe("denied");
      expect(decide(folder, "s3:DeleteObject", resource)).toBe("denied");
      expect(decide(folder, "s3:DeleteObjectVersion", resource)).toBe("denied");
    }
  });

  it.each(functionFolders)("%s changes nothing that was deployed", (folder) => {
    const names = ["s3:PutBucketPolicy", "dynamodb:UpdateTable", "lambda:UpdateFunctionCode", "iam:PassRole"];
    const resources = [bucket, table, lambda(folder), site.roleOf(folder)];
    for (const [index, action] of names.entries())
      expect(decide(folder, action, resources[index] ?? "")).toBe("denied");
  });
});

describe("areas of the bucket", () => {
  /** A key of each kind that core makes. */
  const id = "01k3s1te000000000000000001";
  const made: Readonly<Record<string, string>> = {
    siteKey: keys.siteKey,
    batchKey: keys.batchKey({ vpgId: id, term: 1, session: 1, batch: 0 }),
    termKey: keys.termKey(id, 1, id),
    offerKey: keys.offerKey(id, 1, id),
    withdrawnKey: keys.withdrawnKey(id, 1, id),
    sessionClaimKey: keys.sessionClaimKey(id, 1),
    definitionKey: keys.definitionKey(id, 1),
    manifestKey: keys.manifestKey(id, 1),
    packKey: keys.packKey({ vpgId: id, session: 1, batch: 0 }, id),
    digestKey: keys.digestKey(id, id),
    layerPartKey: keys.layerPartKey({ vpgId: id, layerId: id, part: 0 }),
    annotationKey: keys.annotationKey(id, { session: 1, sequence: 1 }, id),
    decisionKey: keys.decisionKey(id, id),
    operationKey: keys.operationKey(id, id, 1),
    forgottenKey: keys.forgottenKey(id, id, 1),
    syncPageKey: keys.syncPageKey(id, id, { session: 1, volume: 1, page: 0 }, "hashes"),
    reportKey: keys.reportKey(id, id, 1, "json"),
    deletedVpg: bucketKeys.deletedVpg(idSchema.parse(id)),
    token: bucketKeys.token("ann"),
    peer: bucketKeys.peer("paris", 1),
  };

  it("are known of every key that core makes", () => {
    const names = [...Object.keys(keys), ...Object.keys(bucketKeys)];
    const makers = names.filter(
      (name) => /^(?!parse).*Key$/.test(name) || ["deletedVpg", "token", "peer"].includes(name),
    );
    expect(Object.keys(made).sort()).toEqual(makers.sort());
    const areas: readonly string[] = [
      ...createOnceAreas,
      ...collectedAreas,
      ...derivedAreas,
      ...passingAreas,
      ...replacedAreas,
    ];
    for (const [name, key] of Object.entries(made))
      expect(key === identityObject || areas.includes(key.split("/")[0] ?? ""), `${name}: ${key}`).toBe(true);
  });
});

describe("wildcards", () => {
  /** Every resource with a wildcard that some policy allows, and why; `*` alone only where an action has no resources to name. */
  const reasons: Readonly<Record<string, string>> = {
    ...Object.fromEntries(
      [...createOnceAreas, ...collectedAreas, ...derivedAreas, ...passingAreas, "tokens"].map((area) => [
        `${bucket}/${area}/*`,
        "keys of one area are made at run time",
      ]),
    ),
    ...Object.fromEntries(
      machineFolders.map((name) => [
        machine(name).replace(":stateMachine:", ":execution:").concat(":*"),
        "each operation starts an execution",
      ]),
    ),
    "*": "Step Functions' log delivery and X-Ray",
  };

  it("stand where a reason is given, and nowhere else", () => {
    const found = [...site.all("AWS::IAM::Policy")].flatMap(([id, { PolicyDocument }]) =>
      statementsOf(PolicyDocument)
        .filter(({ Effect }) => Effect === "Allow")
        .flatMap(({ Action = [], NotAction = [], Resource = [] }) => [
          ...[...Action, ...NotAction].filter((action) => action.includes("*")).map((action) => `${id}: ${action}`),
          ...Resource.filter((resource) => /[*?]/.test(resource.replace(/log-group:[^:]*:\*$/, ""))),
        ]),
    );
    expect([...new Set(found)].filter((resource) => reasons[resource] === undefined)).toEqual([]);
  });

  it("of all resources belong to actions that have none", () => {
    const actions = [...site.all("AWS::IAM::Policy").values()].flatMap(({ PolicyDocument }) =>
      statementsOf(PolicyDocument).flatMap(({ Action = [], Resource = [] }) => (Resource.includes("*") ? Action : [])),
    );
    const allowed = /^(xray:(Put|Get)\w+|logs:\w*(LogDelivery|LogDeliveries|ResourcePolic\w+|LogGroups))$/;
    expect([...new Set(actions)].filter((action) => !allowed.test(action))).toEqual([]);
  });
});

describe("the policy that docs/aws.md gives to gateways of other accounts", () => {
  it("is the one of the output", () => {
    const [, text = ""] = /```json\n([\s\S]*?)```/.exec(readFileSync(join(root, "docs/aws.md"), "utf8")) ?? [];
    expect(statementsOf(JSON.parse(text))).toEqual(attached("GatewaysPolicy"));
  });
});

describe("with remove_data", () => {
  const removable = new SiteTemplate({ remove_data: true });

  it("the bucket can be emptied, and still nothing in it replaced", () => {
    const own = removable.arnOf("AWS::S3::Bucket");
    const ask = (action: string, context: Readonly<Record<string, string>>) =>
      decideAccess(
        { principal: `arn:aws:iam::${testAccount}:role/administrator`, action, resource: `${own}/journal/x`, context },
        { identity: [everything], resource: removable.bucketPolicy },
      ).allowed;
    expect(ask("s3:DeleteObjectVersion", {})).toBe(true);
    expect(ask("s3:PutObject", object)).toBe(false);
  });
});
